//! The `musicrl` command: flags to settings, settings to one call into the studio.
//!
//! Exit codes: 0 done, 1 failed or stopped by the user, 2 wrong usage (flags, settings, recipes).
#![forbid(unsafe_code)]

mod allocator;
mod backend;
mod commands;
mod failure;
mod flags;
mod interrupt;
mod machine;
mod progress;
mod report;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{commands::Context, flags::Flags};

fn main() -> ExitCode {
    allocator::keep_large_blocks();
    // Wrong flags end here, with clap's message and exit code 2; `--help` and `--version` with 0.
    let flags = Flags::parse();
    let json = flags.global.json;
    match Context::new(&flags.global).and_then(|context| commands::run(&context, flags.command)) {
        Ok(report) => report.print(json),
        Err(failure) => {
            failure.print(json);
            failure.exit_code()
        }
    }
}
