//! The lab: every scenario boots a Linux kernel of its own (user-mode Linux), builds a network of hosts in
//! it and runs the real `lvsd` there, under real traffic.
//!
//! One binary plays three parts. On the host it is the runner ([`runner`]); as process 1 of a booted
//! kernel it is the guest's init ([`boot::init`]); started by that init with `--inside` it runs one scenario
//! ([`scenarios`]) with the tools of [`lab`]. Each of `lab`, `boot`, `scenarios` and `runner` uses only those before it. `cargo test --test lab -- --help` lists what it takes.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a lab is made of threads, clocks and polls

mod boot;
mod lab;
mod runner;
mod scenarios;

use std::process::ExitCode;

use clap::Parser;

/// Boots a kernel for each scenario and runs lvsd in it.
#[derive(Parser, Debug)]
#[command(name = "lab", disable_version_flag = true)]
pub struct Arguments {
    /// Run scenarios whose name contains one of these; none: all but the demo
    pub filters: Vec<String>,
    /// List the scenarios and exit
    #[arg(long)]
    pub list: bool,
    /// Kernels at a time: more than two processors, as scenarios in real time mostly wait
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Show each scenario's log as it happens (one kernel at a time)
    #[arg(short, long, alias = "nocapture")]
    pub verbose: bool,
    /// An interactive shell on the director, in the lab's network; with `demo`, after the demo
    #[arg(long)]
    pub shell: bool,
    /// Keep the artefacts of scenarios that pass, too
    #[arg(long)]
    pub keep: bool,
    /// Run the scenario here, in a booted kernel (what the guest's init calls)
    #[arg(long, hide = true)]
    pub inside: Option<String>,
}

fn main() -> ExitCode {
    if boot::init::is_init() {
        boot::init::run();
    }
    let arguments = Arguments::parse();
    match &arguments.inside {
        Some(name) => runner::inside::run(name, arguments.shell),
        None => runner::run(&arguments),
    }
}
