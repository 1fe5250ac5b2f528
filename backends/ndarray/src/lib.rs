//! The ndarray backend.
