//! Values of the LVS side that take more than a word: addresses with ports, forwarding methods, schedulers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::ipvs::scheduler::{SCHEDULERS, Scheduler};
use crate::ipvs::types::{Forwarding, Tunnel, TunnelChecksum};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

/// `IP [PORT]`; port 0 when it is not written. None after saying what is wrong.
pub(crate) fn address_and_port(words: &[Word], node: &Node, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let keyword = &*node.keyword.text;
    if reader.is_yaml() {
        return words.first().and_then(|word| joined(word, keyword, reader));
    }
    let Some(first) = words.first() else {
        let problem = Diagnostic::error(node.keyword.span, format!("`{keyword}` needs a value"))
            .help(format!("write `{keyword} IP [PORT]`, e.g. `{keyword} 192.0.2.10 80`"));
        reader.diagnostics.push(problem);
        return None;
    };
    let ip = reader.address(keyword, first)?;
    let Some(second) = words.get(1) else { return Some(SocketAddr::new(ip, 0)) };
    match value::number(second, 0, u32::from(u16::MAX)).map(u16::try_from) {
        Ok(Ok(port)) => Some(SocketAddr::new(ip, port)),
        // Without its port the server would be another one: keepalived drops it, too.
        Ok(Err(_)) | Err(Wrong::OutOfRange) => {
            reader
                .error(second.span, format!("`{keyword}`: `{}` is not a port from 0 to 65535", second.text));
            None
        }
        Err(wrong) => {
            reader.wrong(keyword, second, "a port from 0 to 65535", wrong);
            None
        }
    }
}

/// `IP:PORT`, `[IP]:PORT`, `IP`, as YAML writes it; port 0 when it is not written.
fn joined(word: &Word, keyword: &str, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).unwrap_or(word);
    let found = bare.parse().map(|ip| SocketAddr::new(ip, 0)).or_else(|_| word.parse());
    if let Ok(address) = found {
        return Some(address);
    }
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let hint = match word.rsplit_once(':') {
        Some((ip, port)) if ip.parse::<Ipv4Addr>().is_ok() || ip.ends_with(']') => {
            format!("`{port}` is not a port from 0 to 65535")
        }
        Some((name, port))
            if is_port(port) && !name.contains(':') && name.contains(|c: char| c.is_ascii_alphabetic()) =>
        {
            "write the address: names are not resolved here".to_owned()
        }
        _ => "write e.g. 192.0.2.10:80 or \"[2001:db8::10]:80\"".to_owned(),
    };
    reader.wrong(keyword, word, "an IP address, with a port or without", Wrong::Malformed(Some(hint)));
    None
}

/// The form of [`forwarding`].
pub(crate) const FORWARDING: &str = "NAT, DR, or TUN [type ipip|gue port N|gre] [nocsum|csum|remcsum]";

/// A forwarding method, as `lb_kind` and `lvs_method` take it; in YAML a block, too.
pub(crate) fn forwarding(slot: &mut Slot<Forwarding>, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_some() {
        return forwarding_block(slot, node, reader);
    }
    let Some((method, options)) = node.values.split_first() else { return };
    let keyword = &*node.keyword.text;
    let methods = ["NAT", "DR", "TUN"];
    let value = match methods.into_iter().find(|fixed| reader.is_fixed(method, fixed)) {
        Some("NAT") => Forwarding::Nat,
        Some("DR") => Forwarding::Dr,
        Some(_) => match tunnel(options, keyword, reader) {
            Some(tunnel) => Forwarding::Tun(tunnel),
            None => return,
        },
        // keepalived takes every unknown word for NAT; here NAT was meant.
        None if method.eq_ignore_ascii_case("NAT") => {
            let text = format!("`{keyword}`: `{}` is read as NAT", method.text);
            reader.diagnostics.push(Diagnostic::warning(method.span, text).help("write it in capitals"));
            Forwarding::Nat
        }
        None => {
            let likely = nearest(method, methods.into_iter());
            let hint = likely.map(|likely| format!("did you mean `{}`?", reader.fixed(likely)));
            let wanted = format!("a forwarding method: {}", reader.any_of(&methods));
            return reader.wrong(keyword, method, &wanted, Wrong::Malformed(hint));
        }
    };
    if let (false, Some(first), Some(last)) =
        (matches!(value, Forwarding::Tun(_)), options.first(), options.last())
    {
        let span = first.span.to(last.span);
        reader.warning(span, format!("`{keyword} {}` has no options: these words are ignored", method.text));
    }
    reader.store(slot, node, value);
}

/// The table of [`forwarding_block`].
pub(crate) const TUN: &str = "forwarding";

/// A forwarding method as YAML writes one with options: `{tun: {type: gue, port: 6080, checksum: csum}}`.
fn forwarding_block(slot: &mut Slot<Forwarding>, node: &Node, reader: &mut Reader<'_>) {
    let keyword = &node.keyword;
    let (Some(method), None) = (node.statements().first(), node.statements().get(1)) else {
        let problem = Diagnostic::error(keyword.span, format!("`{}` takes one method", keyword.text));
        return reader.diagnostics.push(problem.help("write e.g. `{tun: {type: gue, port: 6080}}`"));
    };
    let is_tunnel = method.keyword.eq_ignore_ascii_case("tun");
    if !is_tunnel && method.block.is_some() {
        let problem = Diagnostic::error(
            method.keyword.span,
            format!("`{}`: only tun has options, not `{}`", keyword.text, method.keyword.text),
        );
        return reader
            .diagnostics
            .push(problem.help(format!("write `{}: {}`", keyword.text, method.keyword.text)));
    }
    // From here on the words are those of keepalived.conf.
    let mut words = vec![method.keyword.clone()];
    for option in method.statements() {
        let Some(value) = option.values.first() else {
            let problem = format!("`{}` needs a value", option.keyword.text);
            return reader.error(option.keyword.span, problem);
        };
        match &*option.keyword.text {
            "type" | "port" => words.push(option.keyword.clone()),
            "checksum" => {}
            other => {
                let likely = nearest(other, ["type", "port", "checksum"].into_iter());
                let help = likely
                    .map_or("write type, port or checksum".to_owned(), |l| format!("did you mean `{l}`?"));
                let problem =
                    Diagnostic::error(option.keyword.span, format!("`{other}` is not a keyword of tun"));
                return reader.diagnostics.push(problem.help(help));
            }
        }
        words.push(value.clone());
    }
    words.extend(method.values.iter().cloned());
    forwarding(slot, &Node { keyword: keyword.clone(), values: words, block: None }, reader);
}

/// A time of whole seconds, as the kernel counts them.
pub(crate) fn whole_seconds(node: &Node, (min, max): (u32, u32), reader: &mut Reader<'_>) -> Option<u32> {
    let word = node.values.first()?;
    let keyword = &*node.keyword.text;
    let wanted = format!("a time from {min}s to {max}s, in whole seconds");
    let seconds = |time: value::Time| {
        u32::try_from(time.duration.as_secs()).ok().filter(|_| time.duration.subsec_nanos() == 0)
    };
    match value::time(word).map(seconds) {
        Ok(Some(seconds)) if (min..=max).contains(&seconds) => Some(seconds),
        Ok(_) => {
            reader.wrong(keyword, word, &wanted, Wrong::OutOfRange);
            None
        }
        Err(wrong) => {
            reader.wrong(keyword, word, &wanted, wrong);
            None
        }
    }
}

/// The options behind `TUN`. None after saying what is wrong.
fn tunnel(options: &[Word], keyword: &str, reader: &mut Reader<'_>) -> Option<Tunnel> {
    let mut kind = "ipip";
    let mut port: Option<(Span, u16)> = None;
    let mut checksum: Option<(Span, TunnelChecksum)> = None;
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match &*word.text {
            option @ ("type" | "port") => {
                let Some(value) = words.next() else {
                    reader.error(word.span, format!("`{keyword} TUN {option}` needs a value"));
                    return None;
                };
                match (option, &*value.text) {
                    ("type", name @ ("ipip" | "gue" | "gre")) => kind = name,
                    ("type", _) => {
                        reader.wrong(
                            keyword,
                            value,
                            "a type of tunnel: ipip, gue or gre",
                            Wrong::Malformed(None),
                        );
                        return None;
                    }
                    _ => match port_number(value) {
                        Some(number) => port = Some((value.span, number)),
                        None => {
                            reader.wrong(keyword, value, "a port from 1 to 65535", Wrong::Malformed(None));
                            return None;
                        }
                    },
                }
            }
            "nocsum" => checksum = Some((word.span, TunnelChecksum::None)),
            "csum" => checksum = Some((word.span, TunnelChecksum::Checksum)),
            "remcsum" => checksum = Some((word.span, TunnelChecksum::Remote)),
            _ => {
                reader.wrong(
                    keyword,
                    word,
                    "an option of TUN: type, port, nocsum, csum or remcsum",
                    Wrong::Malformed(None),
                );
                return None;
            }
        }
    }
    if let Some((span, _)) = port.filter(|_| kind != "gue") {
        reader.error(span, format!("`{keyword}`: a tunnel of type {kind} has no port"));
        return None;
    }
    if let Some((span, _)) = checksum.filter(|(_, c)| kind == "ipip" && *c != TunnelChecksum::None) {
        reader.error(span, format!("`{keyword}`: a tunnel of type ipip has no checksum"));
        return None;
    }
    if let Some((span, _)) = checksum.filter(|(_, c)| kind == "gre" && *c == TunnelChecksum::Remote) {
        reader.error(span, format!("`{keyword}`: a tunnel of type gre takes csum or nocsum, not remcsum"));
        return None;
    }
    let checksum = checksum.map_or(TunnelChecksum::None, |(_, c)| c);
    match (kind, port) {
        ("gue", Some((_, port))) => Some(Tunnel::Gue { port, checksum }),
        ("gue", None) => {
            let span =
                options.first().zip(options.last()).map(|(a, b)| a.span.to(b.span)).unwrap_or_default();
            let problem = Diagnostic::error(span, format!("`{keyword}`: a tunnel of type gue needs a port"))
                .help(format!(
                    "write `{}`, N being the UDP port real servers unpack at",
                    reader.by_language(
                        format!("{keyword} TUN type gue port N"),
                        format!("{keyword}: {{tun: {{type: gue, port: N}}}}"),
                    )
                ));
            reader.diagnostics.push(problem);
            None
        }
        ("gre", _) => Some(Tunnel::Gre { checksum }),
        _ => Some(Tunnel::Ipip),
    }
}

fn port_number(word: &Word) -> Option<u16> {
    value::number(word, 1, u32::from(u16::MAX)).ok().and_then(|n| u16::try_from(n).ok())
}

/// A scheduler, as `lb_algo` takes it.
pub(crate) fn scheduler(slot: &mut Slot<Scheduler>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match Scheduler::new(word).filter(|s| s.known().is_some()) {
        Some(scheduler) => reader.store(slot, node, scheduler),
        None => {
            let names = SCHEDULERS.iter().map(|k| k.name);
            let list: Vec<&str> = names.clone().collect();
            let hint = match nearest(word, names) {
                Some(likely) => format!("did you mean `{likely}`?"),
                None => format!("write one of {}", list.join(" ")),
            };
            reader.wrong(&node.keyword, word, "a scheduler", Wrong::Malformed(Some(hint)));
        }
    }
}

/// The prefix length of an IPv4 netmask, 1-32; None when it is no such mask.
pub(crate) fn prefix_of_mask(mask: IpAddr) -> Option<u8> {
    let IpAddr::V4(mask) = mask else { return None };
    let bits = u32::from(mask);
    let prefix = bits.leading_ones();
    (prefix > 0 && prefix + bits.trailing_zeros() == 32).then(|| u8::try_from(prefix).ok()).flatten()
}
