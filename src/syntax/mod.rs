//! Text to spanned tree, and what is said about text that is wrong.
//!
//! [`source`] holds the files, [`open`] reads them, [`time_limited`] gives up on those that hang, [`diagnostic`] is what is wrong with them. keepalived.conf:
//! [`expand`] turns files into lines (include, conditions, [`definition`], [`repeat`]), [`lexer`] lines into words
//! and braces, [`tree`] those into blocks, whose words are [`slice`]s of the files. YAML: [`yaml`] makes the same blocks, without those of other hosts ([`only_on`]). [`keyword`] is how a keyword is
//! declared, [`reader`] reads blocks by such declarations, [`value`] the values they take. [`draft`] and [`write`] are the way back to text, with the [`comments`]. This layer
//! knows no keyword (except `include` and `only_on`, which are the languages'): its caller, `config`, brings the tables.

pub(crate) mod comments;
pub(crate) mod definition;
pub(crate) mod diagnostic;
pub(crate) mod draft;
pub(crate) mod expand;
pub(crate) mod files;
pub(crate) mod keyword;
pub(crate) mod lexer;
pub(crate) mod odd_space;
pub(crate) mod only_on;
pub(crate) mod open;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod print;
pub(crate) mod reader;
pub(crate) mod repeat;
pub(crate) mod slice;
pub(crate) mod source;
pub(crate) mod table;
pub(crate) mod time_limited;
pub(crate) mod tree;
pub(crate) mod value;
pub(crate) mod write;
pub(crate) mod yaml;

#[cfg(test)]
pub(crate) mod tests;
