//! What this machine has.

use musicrl_pipeline::run::Machine;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// Processor and memory.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// Processor, as it names itself.
    pub cpu: String,
    /// Cores without hyper-threads.
    pub cores: usize,
    /// All memory.
    pub memory_bytes: u64,
    /// Memory that can be had without swapping, under the limit of the control group.
    pub available_bytes: u64,
}

impl Hardware {
    /// Asks the system; what it does not say is empty or 0.
    pub fn look() -> Self {
        let kinds = RefreshKind::nothing()
            .with_memory(MemoryRefreshKind::nothing().with_ram())
            .with_cpu(CpuRefreshKind::nothing());
        let mut hardware = Self { cpu: String::new(), cores: 0, memory_bytes: 0, available_bytes: 0 };
        let Ok(system) = System::new_with_specifics(kinds) else { return hardware };
        hardware.cpu = system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).unwrap_or_default();
        hardware.cores = System::physical_core_count().unwrap_or(0);
        hardware.memory_bytes = system.total_memory();
        hardware.available_bytes = system.available_memory();
        if let Some(limits) = system.cgroup_limits() {
            hardware.memory_bytes = hardware.memory_bytes.min(limits.total_memory);
            hardware.available_bytes = hardware.available_bytes.min(limits.free_memory);
        }
        hardware
    }

    /// What a run's record says of the machine.
    pub fn record(&self) -> Machine {
        let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        Machine { cpu: self.cpu.clone(), threads: rayon::current_num_threads(), system }
    }
}
