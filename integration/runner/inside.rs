//! Runs one scenario within a booted guest.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::lab::{FAILED, Lab, SKIPPED, shell};
use crate::scenarios;

/// Runs one scenario in this guest. Called by the guest's init.
pub(crate) fn run(name: &str, shell: bool) -> ExitCode {
    if let Some(probe) = scenarios::PROBES.into_iter().flatten().find(|p| p.name == name) {
        return (probe.run)();
    }
    if shell && let Err(message) = shell::take_terminal() {
        eprintln!("lab: {message}");
        return ExitCode::FAILURE;
    }
    let Some(dir) = std::env::var_os("LAB_DIR") else {
        eprintln!("lab: --inside is for a booted guest");
        return ExitCode::from(64);
    };
    let mut lab = Lab::new(PathBuf::from(dir).join("out"), shell);
    if name == scenarios::SHELL {
        let verdict = lab.standard().and_then(|()| shell::run(&lab, "d1"));
        return verdict.map_or_else(complain, |()| ExitCode::SUCCESS);
    }
    let found = scenarios::SCENARIOS.iter().find(|s| s.name == name);
    let Some(scenarios::Run::Inside(run)) = found.map(|s| &s.run) else {
        eprintln!("lab: no scenario {name} for a guest");
        return ExitCode::from(64);
    };
    let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut lab)))
        .unwrap_or_else(|_| Err("the scenario itself panicked".to_owned()));
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) if lab.is_skipped() => {
            println!("{reason}");
            ExitCode::from(SKIPPED)
        }
        Err(message) => {
            lab.step(format!("{FAILED}{message}"));
            lab.autopsy();
            ExitCode::FAILURE
        }
    }
}

fn complain(message: String) -> ExitCode {
    eprintln!("lab: {message}");
    ExitCode::FAILURE
}
