//! The configuration: what the operator wants, typed and validated.
//!
//! Text becomes a spanned tree (`syntax`), the tree becomes options by keyword tables ([`root`], [`global`],
//! [`virtual_server`], [`group`], [`real_server`], [`checker`], [`tls`], [`timing`], [`notice`], [`vrrp`]), one step ([`resolve`],
//! [`identity`]) applies the defaults of the dialect ([`defaults`]), and the result is a [`Config`] that needs no further checks. The
//! director sees nothing else.
//! [`load`](load::load) is all of it.

pub(crate) mod changes;
mod checker;
mod commands;
pub(crate) mod convert;
mod defaults;
pub(crate) mod fix;
mod global;
mod group;
mod identity;
pub(crate) mod load;
pub(crate) mod local_host;
mod mail;
mod notice;
mod options;
mod real_server;
mod regex;
mod resolve;
pub(crate) mod root;
mod timing;
mod tls;
pub(crate) mod types;
mod url;
mod values;
mod virtual_server;
mod vrrp;

pub(crate) use checker::is_checker;
pub(crate) use load::{Loaded, Namespace, Reading, Strictness, load, load_once};
pub use types::*;

#[cfg(test)]
pub(crate) mod tests;
