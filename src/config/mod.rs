//! The configuration: what the operator wants, typed and validated.
//!
//! Text becomes a spanned tree (`syntax`), the tree becomes options by keyword tables, one step applies the
//! defaults of the dialect, and what remains is a [`Config`] nobody has to doubt. The director sees nothing else.

pub mod types;

pub use types::*;
