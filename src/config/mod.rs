//! The configuration: what the operator wants, typed and validated.
//!
//! Text becomes a spanned tree (`syntax`), the tree becomes options by keyword tables ([`root`], [`global`],
//! [`virtual_server`], [`group`], [`real_server`], [`checker`], [`tls`], [`timing`], [`notice`], [`vrrp`]), one step ([`resolve`],
//! [`identity`]) applies the defaults of the dialect ([`defaults`]), and what remains is a [`Config`] nobody has to doubt. The
//! director sees nothing else.
//! [`load`](load::load) is all of it.

pub(crate) mod changes;
pub(crate) mod checker;
mod commands;
pub(crate) mod defaults;
pub(crate) mod global;
pub(crate) mod group;
pub(crate) mod here;
pub(crate) mod identity;
pub(crate) mod load;
pub(crate) mod mail;
pub(crate) mod notice;
pub(crate) mod real_server;
pub(crate) mod regex;
pub(crate) mod resolve;
pub(crate) mod root;
pub(crate) mod timing;
pub(crate) mod tls;
pub(crate) mod types;
pub(crate) mod url;
pub(crate) mod virtual_server;
pub(crate) mod vrrp;
pub(crate) mod words;

pub(crate) use load::{Loaded, Strictness, load, load_once};
pub use types::*;

#[cfg(test)]
mod tests;
