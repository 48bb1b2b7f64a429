//! Links that undo tunnels, and the UDP ports of GUE: what a real server behind TUN needs.

use rustix::io::Errno;

use super::encode::{self, Unspeakable};
use super::{Kernel, find, in_words};
use crate::netlink::generic::{self, Generic, NoFamily};

/// linux/fou.h: FOU_GENL_VERSION, FOU_CMD_*, FOU_ATTR_*, FOU_ENCAP_GUE.
const FOU_VERSION: u8 = 1;
const FOU_ADD: u8 = 1;
const FOU_DELETE: u8 = 2;
const FOU_PORT: u16 = 1;
const FOU_FAMILY: u16 = 2;
const FOU_TYPE: u16 = 4;
const FOU_GUE: u8 = 2;

impl Kernel {
    /// Makes a link of a kind without any parameters; one that is there is a success.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn add_link(&mut self, name: &str, kind: &str) -> Result<(), String> {
        let request = encode::make_link(name, kind).map_err(words)?;
        match self.ask(&[request]) {
            Err((errno, _)) if errno == Errno::EXIST.raw_os_error() => Ok(()),
            Err((errno, _)) if errno == Errno::OPNOTSUPP.raw_os_error() => {
                Err(format!("this kernel has no links of the kind {kind}: load its module"))
            }
            other => other.map_err(words),
        }
    }

    /// Removes a link; one that is not there is a success.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn remove_link(&mut self, name: &str) -> Result<(), String> {
        match find(&self.names, name) {
            Some(index) => self.ask(&[encode::remove_link(index)]).map_err(words),
            None => Ok(()),
        }
    }

    /// Switches a link on or off.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn switch_link(&mut self, name: &str, is_on: bool) -> Result<(), String> {
        let index = find(&self.names, name).ok_or_else(|| format!("there is no link {name}"))?;
        self.ask(&[encode::switch(index, is_on)]).map_err(words)
    }

    /// Has UDP packets to a port read as GUE, or no longer; what is so already is a success.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn read_gue(&mut self, port: u16, is_ipv6: bool, is_wanted: bool) -> Result<(), String> {
        let mut fou = Generic::open("fou").map_err(|error| match error {
            NoFamily::Absent => "this kernel has no GUE: load the module fou (modprobe fou)".to_owned(),
            NoFamily::Refused(errno) => in_words(errno, None),
            NoFamily::Transport(why) => format!("netlink: {why}"),
        })?;
        let family = if is_ipv6 { super::wire::AF_INET6 } else { super::wire::AF_INET };
        let mut request = generic::request(if is_wanted { FOU_ADD } else { FOU_DELETE }, FOU_VERSION);
        request.attribute(FOU_PORT, &port.to_be_bytes());
        request.attribute(FOU_FAMILY, &[family]).attribute(FOU_TYPE, &[FOU_GUE]);
        let refused = fou.batch(vec![request], |_, _| Ok(())).map_err(|why| format!("netlink: {why}"))?;
        let is_so = [Errno::EXIST, Errno::ADDRINUSE, Errno::NOENT].map(Errno::raw_os_error);
        match refused.first().filter(|refused| !is_so.contains(&refused.errno)) {
            None => Ok(()),
            Some(refused) => Err(in_words(refused.errno, refused.text.as_deref())),
        }
    }
}

fn words((_, text): Unspeakable) -> String {
    text
}
