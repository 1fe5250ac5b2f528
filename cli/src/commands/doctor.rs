//! `musicrl doctor`.

use serde_json::json;

use super::Context;
use crate::{backend::Backend, failure::Failure, machine::Hardware, report::Report, words};

/// Looks at the program and the machine. A backend that lacks something is a finding, not a failure.
pub fn run(context: &Context) -> Result<Report, Failure> {
    let hardware = Hardware::look();
    let threads = rayon::current_num_threads();
    let versions = musicrl_pipeline::run::Versions::new(context.backend.name(), context.seed(), hardware.record());
    let mut report = Report::new()
        .fact("version", "musicrl", versions.musicrl)
        .fact("burn", "Burn", versions.burn)
        .fact("system", "system", versions.machine.system)
        .fact("cpu", "processor", hardware.cpu)
        .fact("cores", "cores", hardware.cores)
        .fact("threads", "threads used", threads)
        .line(format!("{:<22}{}", "memory", words::bytes(hardware.memory_bytes)))
        .line(format!("{:<22}{}", "memory available", words::bytes(hardware.available_bytes)))
        .value("memory_bytes", hardware.memory_bytes)
        .value("available_bytes", hardware.available_bytes);
    let base = if musicrl_pipeline::embedded::is_present() { "present" } else { "missing" };
    report = report.fact("embedded_base", "embedded base", base);
    let mut backends = Vec::new();
    for backend in Backend::ALL {
        let reason = if backend.is_built_in() { backend.device().err() } else { None };
        let (usable, line) = match (backend.is_built_in(), &reason) {
            (false, _) => (false, "not built in".to_string()),
            (true, None) => (true, backend.about().to_string()),
            (true, Some(failure)) => (false, failure.message().to_string()),
        };
        report = report.line(format!("backend {:<14}{line}", backend.name()));
        backends.push(json!({
            "name": backend.name(),
            "built_in": backend.is_built_in(),
            "usable": usable,
            "about": line,
        }));
    }
    Ok(report.value("backends", backends))
}
