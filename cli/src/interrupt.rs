//! Ctrl-C: stop at the next safe place; twice, at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::failure::Failure;

/// Catches SIGINT, SIGTERM and SIGHUP from here on. The flag is set at the first; the second ends the process, which
/// is safe too: nothing is ever half written under its own name.
pub fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let handler = move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        tell();
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::failed(format!("cannot catch Ctrl-C: {error}")))?;
    Ok(flag)
}

fn tell() {
    eprintln!("\nstopping after what is in progress, with a checkpoint (Ctrl-C again: at once)");
}
