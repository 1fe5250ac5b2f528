//! The flex backend.
