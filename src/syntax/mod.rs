//! Text to spanned tree, and what is said about text that is wrong.
//!
//! [`source`] holds the files, [`diagnostic`] what is wrong with them; [`expand`] turns files into lines
//! (include, definitions), [`lexer`] lines into words and braces, [`tree`] those into blocks. [`keyword`] is how
//! a keyword is declared and a block read by such declarations, [`value`] the values they take. This layer
//! refuses to know any keyword (except `include`, which is the language's): who calls it, `config`, brings the
//! tables.

pub mod diagnostic;
pub mod expand;
pub mod files;
pub mod keyword;
pub mod lexer;
pub mod source;
pub mod tree;
pub mod value;

#[cfg(test)]
mod tests;
