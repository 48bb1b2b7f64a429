//! `use_vmac`: an instance's MAC address of its own, on a macvlan.

use std::sync::Arc;

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::net::types::Vmac;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;
use crate::vrrp::settings::Family;

options! {
    /// `use_vmac` as it was written.
    #[derive(Clone)]
    pub(crate) struct VmacOptions {
        /// Name of the macvlan.
        name: Slot<String> = text("name", "NAME", MAX_INTERFACE).only_yaml();
        /// Its MAC address, where it is not the virtual router's.
        mac: Slot<[u8; 6]> = word(=> mac; "mac", "MAC").only_yaml();
    }
}

/// The form of `use_vmac`.
pub(super) const FORM: &str = "[[name] NAME] [MAC] [netlink_notify_msg] [group GROUP]";

/// Keywords of YAML's `use_vmac`.
pub(super) const VMAC: Table<VmacOptions> = Table::of("vmac", "use_vmac", &[VmacOptions::keywords()]);

fn mac(slot: &mut Slot<[u8; 6]>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match parse(word) {
        Some(mac) => reader.store(slot, node, mac),
        None => reader.wrong("mac", word, "a MAC address, e.g. 02:00:00:00:00:01", Wrong::Malformed(None)),
    }
}

/// Reads the words of `use_vmac`, or YAML's block.
pub(crate) fn read(slot: &mut Slot<Option<VmacOptions>>, node: &Node, reader: &mut Reader<'_>) {
    let mut options = VmacOptions::default();
    if node.block.is_some() {
        reader.block(&VMAC, node.statements(), &mut options);
        return reader.store(slot, node, Some(options));
    }
    let mut words = node.values.iter();
    if reader.is_yaml()
        && let Some(is_wanted) = node.values.first().and_then(|w| crate::syntax::value::yaml_boolean(w))
    {
        return reader.store(slot, node, is_wanted.then_some(options));
    }
    while let Some(word) = words.next() {
        match &*word.text {
            // keepalived tells listeners of netlink about the macvlan; the kernel does so here in any case.
            "netlink_notify_msg" => {}
            "group" => {
                words.next();
                reader.warning(word.span, "`use_vmac`: `group` is ignored: lvsd does not group links");
            }
            text => {
                let text = if text == "name" { words.next().map_or("", |next| &*next.text) } else { text };
                if let Some(mac) = parse(text) {
                    reader.store(&mut options.mac, node, mac);
                } else if (1..=MAX_INTERFACE).contains(&text.len()) && !text.contains(['/', ':']) {
                    reader.store(&mut options.name, node, text.to_owned());
                } else {
                    let wanted =
                        format!("the name of an interface (1 to {MAX_INTERFACE} bytes), or a MAC address");
                    reader.wrong("use_vmac", word, &wanted, Wrong::Malformed(None));
                }
            }
        }
    }
    reader.store(slot, node, Some(options));
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|p| (1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The macvlan of an instance; `is_second`: of the IPv6 of one that has both families. None after saying why there can be none.
pub(crate) fn resolve(
    options: &VmacOptions,
    (prefix, vrid, family): (&str, u8, Family),
    is_second: bool,
    base: &str,
    node: crate::syntax::source::Span,
    reader: &mut Reader<'_>,
) -> Option<Arc<Vmac>> {
    let is_ipv6 = family == Family::Ipv6;
    // The macvlan of a pair's IPv6 beside that of IPv4.
    let own = get(&options.name).map(|name| if is_second { format!("{name}6") } else { name });
    let name = own.unwrap_or_else(|| match is_ipv6 {
        // Of both families one virtual router may have the same number.
        true => format!("{prefix}6.{vrid}"),
        false => format!("{prefix}.{vrid}"),
    });
    let mac = get(&options.mac).filter(|_| !is_second).unwrap_or([
        0x00,
        0x00,
        0x5e,
        0x00,
        if is_ipv6 { 2 } else { 1 },
        vrid,
    ]);
    if name.len() > MAX_INTERFACE {
        let problem = Diagnostic::error(node, format!("`{name}` is too long for the name of an interface"));
        reader.diagnostics.push(problem.help("write `use_vmac NAME`, or a shorter vmac_prefix"));
        return None;
    }
    if mac.first().is_some_and(|first| first & 1 == 1) || mac == [0; 6] {
        reader.error(
            node,
            "`use_vmac`: this is no MAC address of one interface: its first byte is odd, or it is zero",
        );
        return None;
    }
    Some(Arc::new(Vmac { name, base: base.to_owned(), mac, is_ipv6 }))
}
