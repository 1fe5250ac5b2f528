//! Under construction.

pub mod neural;
