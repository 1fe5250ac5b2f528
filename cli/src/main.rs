//! The `musicrl` command.
fn main() {}
