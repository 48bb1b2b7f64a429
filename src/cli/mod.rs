//! The commands. Each is a function that answers a text and an exit code; the binary prints and exits.

pub mod check;
pub mod render;

#[cfg(test)]
mod tests;
