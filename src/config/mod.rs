//! The configuration: what the operator wants, typed and validated.
//!
//! Text becomes a spanned tree (`syntax`), the tree becomes options by keyword tables ([`root`], [`global`],
//! [`virtual_server`], [`group`], [`real_server`], [`checker`], [`tls`], [`timing`], [`notice`], [`vrrp`]), one step ([`resolve`],
//! [`identity`]) applies the defaults of the dialect ([`defaults`]), and what remains is a [`Config`] nobody has to doubt. The
//! director sees nothing else.
//! [`load`](load::load) is all of it.

pub mod changes;
pub mod checker;
mod commands;
pub mod defaults;
pub mod global;
pub mod group;
pub mod here;
pub mod identity;
pub mod load;
pub mod mail;
pub mod notice;
pub mod real_server;
pub mod regex;
pub mod resolve;
pub mod root;
pub mod timing;
pub mod tls;
pub mod types;
pub mod url;
pub mod virtual_server;
pub mod vrrp;
pub mod words;

pub use load::{Loaded, Strictness, load, load_once};
pub use types::*;

#[cfg(test)]
mod tests;
