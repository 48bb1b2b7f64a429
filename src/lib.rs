//! lvsd, a layer-4 Linux Virtual Server director.
//!
//! The map. Layers from the bottom up; a lower layer never uses a higher one (a test walks the `use` lines):
//!
//! - [`time`]: points in time; reads no clock.
//! - [`date`]: dates for people.
//! - [`text`]: words of strangers, made harmless.
//! - [`script`]: the operator's scripts: as whom they run, how they end.
//! - [`syntax`]: text to spanned tree, diagnostics; knows no keyword.
//! - [`netlink`]: bytes and sockets of the kernel's message protocol.
//! - [`ipvs`]: the kernel's table in the kernel's words.
//! - [`net`]: the host's network beside IPVS.
//! - [`check`]: one file per checker for its specification, one for its conversation (its keywords: `config::checker`).
//! - [`bfd`]: whether a neighbour can be reached, pure.
//! - [`vrrp`]: virtual routers: which host holds the VIPs, pure.
//! - [`notify`]: what scripts, FIFOs and mails are notified of, and in which order.
//! - [`config`]: tree to typed, validated configuration.
//! - [`director`]: every decision about virtual servers, pure: input + now -> effects.
//! - [`host_setup`]: what a real server needs of its own host, pure.
//! - [`doctor`]: what is wrong with a host, director or real server, and what helps, pure.
//! - [`daemon`]: the shell: everything that can block, fail or lie.
//! - [`cli`]: the commands.
//!
//! Beside them, for programs of their own: `internals`, and `fuzz`, input from outside as functions of bytes.

#![cfg_attr(not(feature = "internals"), allow(unreachable_pub))] // what `internals` alone shows

mod bfd;
mod check;
mod cli;
mod config;
mod daemon;
mod date;
mod director;
mod doctor;
#[cfg(any(test, feature = "internals"))]
mod fuzz;
mod host_setup;
mod ipvs;
mod net;
mod netlink;
mod notify;
mod script;
mod syntax;
mod text;
mod time;
mod vrrp;

#[cfg(test)]
mod layers;

pub use cli::main;

/// What the lab, the memory count and the fuzz targets take from the crate; no promise to other users.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
