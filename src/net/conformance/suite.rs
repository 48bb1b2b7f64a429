//! Helpers of the suite: claims about a host, and the values it writes.

use std::sync::Arc;

use rustix::io::Errno;

use super::Subject;
use crate::net::types::{Address, HostEvent, LinkIndex, Op, Prefix};

/// Whether a claim, or all of a part's, held; if not, in words.
pub(super) type Outcome = Result<(), String>;

pub(super) const EXIST: i32 = Errno::EXIST.raw_os_error();
pub(super) const INVAL: i32 = Errno::INVAL.raw_os_error();
pub(super) const NODEV: i32 = Errno::NODEV.raw_os_error();

pub(super) fn prefix(text: &str) -> Result<Prefix, String> {
    let (ip, length) = text.split_once('/').ok_or_else(|| format!("{text}: no length"))?;
    let odd = |e: &dyn std::fmt::Display| format!("{text}: {e}");
    Ok(Prefix { ip: ip.parse().map_err(|e| odd(&e))?, length: length.parse().map_err(|e| odd(&e))? })
}

pub(super) fn address(link: &str, text: &str) -> Result<Address, String> {
    Ok(Address::plain(link, prefix(text)?))
}

pub(super) fn add(address: &Address) -> Op {
    Op::AddAddress(Arc::new(address.clone()))
}

pub(super) fn remove(link: LinkIndex, prefix: Prefix) -> Op {
    Op::RemoveAddress { link, prefix }
}

/// A host under test, and how many claims held.
pub(super) struct Suite<'a> {
    pub(super) subject: &'a mut dyn Subject,
    pub(super) link: String,
    pub(super) claims: usize,
}

impl Suite<'_> {
    pub(super) fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
        &mut self,
        what: &str,
        got: &T,
        want: &T,
    ) -> Outcome {
        self.claims += 1;
        if got == want { Ok(()) } else { Err(format!("{what}: expected {want:?}, got {got:?}")) }
    }

    pub(super) fn index(&mut self) -> Result<LinkIndex, String> {
        let host = self.subject.host()?;
        host.link(&self.link).map(|link| link.index).ok_or_else(|| format!("no link {}", self.link))
    }

    pub(super) fn accept(&mut self, ops: &[Op]) -> Outcome {
        self.claims += 1;
        match self.subject.apply(ops).first() {
            None => Ok(()),
            Some(refusal) => {
                Err(format!("{:?} was refused: {} ({})", refusal.op, refusal.text, refusal.errno))
            }
        }
    }

    /// Exactly these are refused, in order; an errno of None is any.
    pub(super) fn refuse(&mut self, ops: &[Op], expected: &[(Op, Option<i32>)]) -> Outcome {
        self.claims += 1;
        let refused = self.subject.apply(ops);
        let is_so = refused.len() == expected.len()
            && refused.iter().zip(expected).all(|(refusal, (op, errno))| {
                let is_errno = errno.is_none_or(|errno| errno == refusal.errno);
                refusal.op == *op && is_errno && refusal.errno > 0 && !refusal.text.is_empty()
            });
        if is_so { Ok(()) } else { Err(format!("expected refusals {expected:?}, got {refused:?}")) }
    }

    /// Waits for this event; the events before it are consumed.
    pub(super) fn expect_event(&mut self, what: &str, is_it: impl Fn(&HostEvent) -> bool) -> Outcome {
        self.claims += 1;
        let mut others = Vec::new();
        while let Some(event) = self.subject.next_event()? {
            if is_it(&event) {
                return Ok(());
            }
            others.push(event);
        }
        Err(format!("no event {what}, but {others:?}"))
    }

    pub(super) fn holds(&mut self, wanted: &Address) -> Outcome {
        self.claims += 1;
        let index = self.index()?;
        let host = self.subject.host()?;
        let held: Vec<_> = host.addresses.iter().filter(|held| held.prefix.ip == wanted.prefix.ip).collect();
        let is_there = held.iter().any(|held| {
            let is_scope = wanted.prefix.ip.is_ipv6() || held.scope == wanted.scope;
            held.link == index && held.prefix == wanted.prefix && is_scope && !held.is_unusable
        });
        if is_there && held.len() == 1 {
            Ok(())
        } else {
            Err(format!("expected {wanted:?} alone, got {held:?}"))
        }
    }

    /// It is there and secondary, or there and primary, or not there.
    pub(super) fn is_secondary(&mut self, prefix: Prefix, expected: Option<bool>) -> Outcome {
        let host = self.subject.host()?;
        let found = host.addresses.iter().find(|held| held.prefix == prefix).map(|held| held.is_secondary);
        self.same(&format!("whether {prefix} is secondary"), &found, &expected)
    }

    /// Consumes all events that are left.
    pub(super) fn quiet(&mut self) -> Outcome {
        while self.subject.next_event()?.is_some() {}
        Ok(())
    }

    pub(super) fn lacks(&mut self, prefix: Prefix) -> Outcome {
        self.claims += 1;
        let host = self.subject.host()?;
        let is_there = host.addresses.iter().any(|held| held.prefix == prefix);
        if is_there { Err(format!("{prefix} is there")) } else { Ok(()) }
    }
}
