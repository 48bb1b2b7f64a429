//! Lines of addresses (`virtual_ipaddress`, `static_ipaddress`, `unicast_peer`), and of routes and rules.

use std::net::IpAddr;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, nearest};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

/// Words behind an address, and whether each has a value.
const OPTIONS: &[(&str, bool)] = &[
    ("brd", true),
    ("broadcast", true),
    ("dev", true),
    ("scope", true),
    ("label", true),
    ("peer", true),
    ("preferred_lft", true),
    ("track_group", true),
    ("use_vmac", false),
    ("home", false),
    ("nodad", false),
    ("-nodad", false),
    ("mngtmpaddr", false),
    ("noprefixroute", false),
    ("autojoin", false),
    ("no_track", false),
];
const PEER: &[(&str, bool)] = &[("min_ttl", true), ("max_ttl", true)];

/// Reads a block of `ADDRESS[/PREFIX] [OPTION [VALUE]]...` lines.
pub fn read(node: &Node, reader: &mut Reader<'_>) -> Vec<IpAddr> {
    let lines = node.statements().iter();
    let addresses: Vec<IpAddr> = lines.filter_map(|line| address(line, node, OPTIONS, reader)).collect();
    let first = addresses.first();
    if first.is_some_and(|first| addresses.iter().any(|a| a.is_ipv4() != first.is_ipv4())) {
        let text = format!("`{}` mixes IPv4 and IPv6", node.keyword.text);
        let problem =
            reader.lapsed(node.keyword.span, text, ": keepalived leaves out those of the other family");
        reader
            .diagnostics
            .push(problem.help("write an instance for each family, or use virtual_ipaddress_excluded"));
    }
    addresses
}

/// Reads a block of `ADDRESS [min_ttl N] [max_ttl N]` lines.
pub fn peers(node: &Node, reader: &mut Reader<'_>) {
    for line in node.statements() {
        address(line, node, PEER, reader);
    }
}

/// Reads a block of lines whose words are not looked at: routes and rules in the words of `ip`.
pub fn lines<T>(_: &mut T, node: &Node, reader: &mut Reader<'_>) {
    node.statements().iter().for_each(|line| is_line(line, node, reader));
}

fn is_line(line: &Node, of: &Node, reader: &mut Reader<'_>) {
    if line.block.is_some() {
        let text = format!("`{}` in `{}` has no block", line.keyword.text, of.keyword.text);
        let problem = Diagnostic::error(line.keyword.span, text);
        reader.diagnostics.push(problem.help("look for a missing or surplus brace above"));
    }
}

fn address(line: &Node, of: &Node, options: &[(&str, bool)], reader: &mut Reader<'_>) -> Option<IpAddr> {
    is_line(line, of, reader);
    let keyword = &*of.keyword.text;
    let mut words = line.values.iter();
    while let Some(word) = words.next() {
        let Some((name, has_value)) = options.iter().find(|(name, _)| *name == &*word.text) else {
            let text = format!("`{keyword}`: `{}` is not an option of an address", word.text);
            let help = match nearest(word, options.iter().map(|(name, _)| *name)) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => "one address a line; a comment begins with `#`".to_owned(),
            };
            reader.diagnostics.push(Diagnostic::error(word.span, text).help(help));
            break;
        };
        if *has_value && words.next().is_none() {
            reader.error(word.span, format!("`{keyword}`: `{name}` needs a value"));
        }
    }
    prefixed(&line.keyword, keyword, reader)
}

/// `ADDRESS[/PREFIX]`. None after saying what is wrong.
fn prefixed(word: &Word, keyword: &str, reader: &mut Reader<'_>) -> Option<IpAddr> {
    let (address, prefix) = word.split_once('/').map_or((&*word.text, None), |(a, p)| (a, Some(p)));
    let address = match value::address(address) {
        Ok(address) => address,
        Err(wrong) => {
            reader.wrong(keyword, word, "an IP address, with a prefix length or without", wrong);
            return None;
        }
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    if let Some(prefix) = prefix
        && value::number(prefix, 0, most).is_err()
    {
        let wanted = format!("an address with a prefix length from 0 to {most}");
        reader.wrong(keyword, word, &wanted, Wrong::Malformed(None));
        return None;
    }
    Some(address)
}
