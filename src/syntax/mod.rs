//! Text to spanned tree, and what is said about text that is wrong.
//!
//! [`source`] holds the files, [`open`] reads them, [`time_limited`] gives up on those that hang, [`diagnostic`] is what is wrong with them. keepalived.conf:
//! [`expand`] turns files into lines (include, conditions, [`definition`], [`repeat`]), [`lexer`] lines into words
//! and braces, [`tree`] those into blocks, whose words are [`slice`]s of the files. YAML: [`yaml`] makes the same blocks. [`keyword`] is how a keyword is
//! declared, [`reader`] reads blocks by such declarations, [`value`] the values they take. This layer
//! refuses to know any keyword (except `include`, which is the language's): who calls it, `config`, brings the
//! tables.

pub mod definition;
pub mod diagnostic;
pub mod expand;
pub mod files;
pub mod keyword;
pub mod lexer;
pub mod odd_space;
pub mod open;
pub mod reader;
pub mod repeat;
pub mod slice;
pub mod source;
pub mod time_limited;
pub mod tree;
pub mod value;
pub mod yaml;

#[cfg(test)]
pub(crate) mod tests;
