//! What every host must do with [`Op`]s, in the kernel or in memory: the kernel's and the one in memory pass the same suite.
//!
//! It wants a link that is switched on, has carrier, an address in 10.1.0.0/24 and one in fd00:1::/64, and no
//! other program that changes anything. It removes what it makes.

mod routing;
mod suite;
mod surprises;

use std::sync::Arc;

use self::suite::{EXIST, NODEV, Outcome, Suite, add, address, prefix, remove};
use super::types::{Address, HeldAddresses, Host, HostEvent, MacAddress, Op, Prefix, Refusal, Vmac};

/// A host under test.
pub trait Subject {
    /// Performs operations.
    fn apply(&mut self, ops: &[Op]) -> Vec<Refusal>;
    /// All that it has.
    ///
    /// # Errors
    /// A sentence.
    fn host(&mut self) -> Result<Host, String>;
    /// The next change it tells; None when there is none for a second.
    ///
    /// # Errors
    /// A sentence.
    fn next_event(&mut self) -> Result<Option<HostEvent>, String>;
    /// Another program does something to it.
    ///
    /// # Errors
    /// A sentence.
    fn meddle(&mut self, what: &Meddling<'_>) -> Result<(), String>;
}

/// What other programs do.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "verb and object")]
pub enum Meddling<'a> {
    /// Makes a link with nothing on it, switched on.
    MakeLink(&'a str),
    RemoveLink(&'a str),
    /// Switches a link on or off.
    Switch(&'a str, bool),
    /// Sets its promote_secondaries.
    Promote(&'a str, bool),
    Add(&'a str, Prefix),
    Remove(&'a str, Prefix),
}

/// Claims about one thing.
type Part = fn(&mut Suite<'_>) -> Outcome;

/// Runs the suite on a link and answers how many claims hold.
///
/// # Errors
/// The first claim that does not, in words.
pub fn run(subject: &mut dyn Subject, link: &str) -> Result<usize, String> {
    let mut suite = Suite { subject, link: link.to_owned(), claims: 0 };
    let before = suite.subject.host()?;
    let parts: [(&str, Part); 14] = [
        ("addresses", addresses),
        ("listing", listing),
        ("lengths", lengths),
        ("attributes", attributes),
        ("refusals", refusals),
        ("routes", routing::routes),
        ("routes in the way", routing::in_the_way),
        ("order", routing::order),
        ("rules", routing::rules),
        ("macvlans", macvlans),
        ("marks", surprises::marks),
        ("primary addresses", surprises::primary_addresses),
        ("removals", surprises::removal_takes_none_along),
        ("silent losses", surprises::silent_losses),
    ];
    for (name, part) in parts {
        part(&mut suite).map_err(|e| format!("{name}: {e}"))?;
        let after = suite.subject.host()?;
        suite.same(&format!("the host after {name}"), &after, &before)?;
    }
    Ok(suite.claims)
}

/// Every kind of address comes, is reported, is there, comes again, goes, is reported, goes again.
fn addresses(suite: &mut Suite<'_>) -> Outcome {
    let v4 = address(&suite.link, "10.1.0.100/32")?;
    let v6 = address(&suite.link, "fd00:1::100/128")?;
    let kinds = [
        v4.clone(),
        Address { label: Some(format!("{}:vip", suite.link)), ..v4.clone() },
        Address { scope: 253, ..v4.clone() },
        Address { preferred_lifetime: Some(0), ..v4.clone() },
        Address { broadcast: Some([10, 1, 0, 255].into()), ..address(&suite.link, "10.1.0.100/24")? },
        Address {
            broadcast: Some([10, 8, 0, 255].into()),
            flags: 0x200,
            ..address(&suite.link, "10.8.0.1/24")?
        },
        Address { peer: Some(prefix("10.8.1.2/32")?), ..address(&suite.link, "10.8.1.1/32")? },
        v6.clone(),
        Address { preferred_lifetime: Some(0), ..v6.clone() },
        Address { preferred_lifetime: Some(1000), ..v6 },
        address(&suite.link, "fd00:1::100/64")?,
        Address { flags: 0x202, ..address(&suite.link, "fd00:8::1/64")? },
    ];
    for kind in kinds {
        suite.accept(&[add(&kind)])?;
        let is_it = |event: &HostEvent| matches!(event, HostEvent::Address(held) if held.prefix == kind.prefix && !held.is_unusable);
        suite.expect_event(&format!("that {} came", kind.prefix), is_it)?;
        suite.holds(&kind)?;
        suite.accept(&[add(&kind), add(&kind)])?;
        suite.holds(&kind)?;
        let away = remove(suite.index()?, kind.prefix);
        suite.accept(std::slice::from_ref(&away))?;
        let is_it =
            |event: &HostEvent| matches!(event, HostEvent::AddressGone(held) if held.prefix == kind.prefix);
        suite.expect_event(&format!("that {} went", kind.prefix), is_it)?;
        suite.accept(&[away])?;
    }
    Ok(())
}

/// A dump that is kept up to date by the events is equal to the next dump.
fn listing(suite: &mut Suite<'_>) -> Outcome {
    let index = suite.index()?;
    while suite.subject.next_event()?.is_some() {}
    let mut known = suite.subject.host()?.addresses;
    let all = [
        "10.9.0.5/24",
        "10.8.0.5/24",
        "10.9.0.1/24",
        "10.8.0.1/24",
        "10.9.0.9/32",
        "fd00:9::1/64",
        "fd00:8::1/64",
    ];
    let all: Vec<_> = all.iter().map(|text| address(&suite.link, text)).collect::<Result<_, _>>()?;
    let news_of = |suite: &mut Suite<'_>, known: &mut HeldAddresses| -> Outcome {
        while let Some(event) = suite.subject.next_event()? {
            match event {
                HostEvent::Address(held) => drop(known.insert(held)),
                HostEvent::AddressGone(held) => drop(known.remove(held.link, held.prefix)),
                _ => {}
            }
        }
        Ok(())
    };
    for address in &all {
        suite.accept(&[add(address)])?;
    }
    news_of(suite, &mut known)?;
    let dump = suite.subject.host()?.addresses;
    suite.same("the order of addresses that came", &known.listed(index), &dump.listed(index))?;
    let first = all.first().ok_or("no address")?;
    suite.accept(&[remove(index, first.prefix)])?;
    news_of(suite, &mut known)?;
    let dump = suite.subject.host()?.addresses;
    suite.same("the order after a first one went", &known.listed(index), &dump.listed(index))?;
    for address in all.iter().rev() {
        suite.accept(&[remove(index, address.prefix)])?;
    }
    Ok(())
}

/// IPv4 knows an address once for each length, IPv6 once.
fn lengths(suite: &mut Suite<'_>) -> Outcome {
    let (long, short) = (address(&suite.link, "10.1.0.100/32")?, address(&suite.link, "10.1.0.100/24")?);
    let index = suite.index()?;
    suite.accept(&[add(&long), add(&short), remove(index, short.prefix)])?;
    suite.holds(&long)?;
    suite.lacks(short.prefix)?;
    suite.accept(&[remove(index, short.prefix), remove(index, long.prefix)])?;
    let (long, short) = (address(&suite.link, "fd00:1::100/128")?, address(&suite.link, "fd00:1::100/64")?);
    suite.accept(&[add(&short), add(&long)])?;
    suite.holds(&short)?;
    suite.accept(&[remove(index, long.prefix)])?;
    suite.holds(&short)?;
    suite.accept(&[remove(index, short.prefix)])
}

/// An address that is there otherwise than wanted becomes as wanted, and what was asked behind it is done, too.
fn attributes(suite: &mut Suite<'_>) -> Outcome {
    let plain = address(&suite.link, "10.1.0.100/32")?;
    let neighbour = address(&suite.link, "10.1.0.101/32")?;
    let index = suite.index()?;
    suite.accept(&[add(&plain)])?;
    let otherwise = Address { scope: 253, ..plain.clone() };
    suite.accept(&[add(&otherwise), add(&neighbour)])?;
    suite.holds(&otherwise)?;
    suite.holds(&neighbour)?;
    suite.accept(&[remove(index, plain.prefix), remove(index, neighbour.prefix)])
}

fn refusals(suite: &mut Suite<'_>) -> Outcome {
    let nowhere = add(&address("nosuchlink", "10.1.0.100/32")?);
    let good = address(&suite.link, "10.1.0.101/32")?;
    let impossible = add(&address(&suite.link, "224.0.0.18/32")?);
    suite.refuse(
        &[nowhere.clone(), add(&good), impossible.clone()],
        &[(nowhere, Some(NODEV)), (impossible, None)],
    )?;
    suite.holds(&good)?;
    let index = suite.index()?;
    let gone = remove(super::types::LinkIndex(0x7fff_fffe), good.prefix);
    suite.accept(&[gone, remove(index, good.prefix)])
}

/// Macvlans come, are reported, hold addresses, come again, go, go again.
fn macvlans(suite: &mut Suite<'_>) -> Outcome {
    let base = suite.index()?;
    for (name, is_ipv6, vip) in [("vrrp.51", false, "10.1.0.100/32"), ("vrrp6.51", true, "fd00:1::100/128")] {
        let mac = [0, 0, 0x5e, 0, if is_ipv6 { 2 } else { 1 }, 51];
        let vmac = Arc::new(Vmac { name: name.into(), base: suite.link.clone(), mac, is_ipv6 });
        let vip = address(name, vip)?;
        suite.accept(&[Op::AddVmac(vmac.clone()), add(&vip)])?;
        let is_it = |event: &HostEvent| matches!(event, HostEvent::Link(link) if link.name == name && link.mac == Some(MacAddress(mac)) && link.is_working());
        suite.expect_event(&format!("that {name} came"), is_it)?;
        let host = suite.subject.host()?;
        let link = host.link(name).ok_or_else(|| format!("no {name}"))?;
        suite.same("its base", &link.base, &Some(base))?;
        suite.same("whether it works", &link.is_working(), &true)?;
        let index = link.index;
        let held = host.addresses.iter().filter(|held| held.link == index).map(|held| held.prefix);
        suite.same("its addresses", &held.collect::<Vec<_>>(), &vec![vip.prefix])?;
        suite.accept(&[Op::AddVmac(vmac.clone()), add(&vip)])?;
        suite.accept(&[remove(index, vip.prefix), Op::RemoveVmac(vmac.clone())])?;
        suite.expect_event(&format!("that {name} went"), |event| *event == HostEvent::LinkGone(index))?;
        suite.accept(&[Op::RemoveVmac(vmac)])?;
    }
    let foreign =
        Vmac { name: suite.link.clone(), base: suite.link.clone(), mac: [2, 0, 0, 0, 0, 9], is_ipv6: false };
    let foreign = Op::AddVmac(Arc::new(foreign));
    suite.refuse(std::slice::from_ref(&foreign), &[(foreign.clone(), Some(EXIST))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::memory::MemoryHost;

    #[test]
    fn the_host_in_memory_passes() {
        let mut host = InMemory { host: site(), fault: None };
        let claims = run(&mut host, "eth0").unwrap();
        assert!(claims > 250, "only {claims} claims");
    }

    #[test]
    fn a_host_that_does_less_than_it_says_is_found_out() {
        for fault in [Fault::Silent, Fault::LosesRefusals, Fault::ForgetsLast, Fault::Deaf] {
            let found = run(&mut InMemory { host: site(), fault: Some(fault) }, "eth0");
            assert!(found.is_err(), "{fault:?} went unnotified: {found:?}");
        }
    }

    fn site() -> MemoryHost {
        let mut host = MemoryHost::new();
        host.add_link("eth0", MacAddress([2, 0, 0, 0, 0, 1]));
        for own in ["10.1.0.12/24", "fd00:1::12/64"] {
            host.add_address("eth0", prefix(own).unwrap());
        }
        host
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Fault {
        Silent,
        LosesRefusals,
        ForgetsLast,
        Deaf,
    }

    struct InMemory {
        host: MemoryHost,
        fault: Option<Fault>,
    }

    impl Subject for InMemory {
        fn apply(&mut self, ops: &[Op]) -> Vec<Refusal> {
            match self.fault {
                Some(Fault::LosesRefusals) => {
                    self.host.apply(ops);
                    Vec::new()
                }
                Some(Fault::ForgetsLast) if ops.len() > 1 => self.host.apply(&ops[..ops.len() - 1]),
                Some(Fault::Deaf) => Vec::new(),
                _ => self.host.apply(ops),
            }
        }

        fn host(&mut self) -> Result<Host, String> {
            Ok(self.host.host().clone())
        }

        fn next_event(&mut self) -> Result<Option<HostEvent>, String> {
            if self.fault == Some(Fault::Silent) {
                return Ok(None);
            }
            Ok(self.host.next_event())
        }

        fn meddle(&mut self, what: &Meddling<'_>) -> Result<(), String> {
            let index = |host: &MemoryHost, link: &str| host.host().link(link).unwrap().index;
            let host = &mut self.host;
            match *what {
                Meddling::MakeLink(link) => drop(host.add_link(link, MacAddress([2, 0, 0, 0, 9, 9]))),
                Meddling::RemoveLink(link) => host.remove_link(index(host, link)),
                Meddling::Switch(link, is_on) => host.set_up(index(host, link), is_on),
                Meddling::Promote(_, promotes) => host.set_promotes_secondaries(promotes),
                Meddling::Add(link, prefix) => host.add_address(link, prefix),
                Meddling::Remove(link, prefix) => host.remove_address(link, prefix),
            }
            Ok(())
        }
    }
}
