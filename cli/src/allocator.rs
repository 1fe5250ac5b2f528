//! Lets the C library's allocator keep large blocks.
//!
//! Training frees and takes the same large tensors at every step. By default glibc hands each back to the system and
//! the kernel clears it anew: 400,000 to 800,000 page faults in fifteen steps of the base policy, against 76,000 with
//! the thresholds below, and 0.8 to 1.6 s of the kernel's time against 0.3 s, of 11 s in all.
//!
//! Without unsafe code the thresholds can be set only through the environment, before the process starts; so the
//! program starts itself once more with them set, in the same process.

/// Blocks up to this size (the largest that glibc takes) come from the heap, not from mappings of their own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_MMAP_THRESHOLD_", "33554432"), ("MALLOC_TRIM_THRESHOLD_", "4294967296"), ("MALLOC_TOP_PAD_", "67108864")];

/// Replaces this process by itself with the thresholds set, unless the user has set one or they are set already.
/// Where that cannot be done the program runs on as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_large_blocks() {
    use std::{env, os::unix::process::CommandExt as _, process::Command};
    if SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // `exec` only returns when it failed.
    let _error = command.args(arguments).envs(SETTINGS).exec();
}

/// Other allocators have other habits.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_large_blocks() {}
