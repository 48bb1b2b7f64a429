//! Links that undo tunnels, and the UDP ports of GUE: what a real server behind TUN needs.

use neli::consts::socket::NlFamily;
use rustix::io::Errno;

use super::encode::{self, Unspeakable};
use super::{Kernel, find, in_words};
use crate::netlink::attribute::attributes;
use crate::netlink::message::{Reply, replies};
use crate::netlink::request::{ACK, Request};
use crate::netlink::socket::Socket;

/// GENL_ID_CTRL, CTRL_CMD_GETFAMILY and its attributes.
const CONTROLLER: (u16, u8) = (16, 3);
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// linux/fou.h: FOU_CMD_*, FOU_ATTR_*, FOU_ENCAP_GUE.
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
        let mut socket = Socket::open(NlFamily::Generic).map_err(|e| format!("netlink: {e}"))?;
        let family = fou_family(&mut socket)?;
        let command = if is_wanted { FOU_ADD } else { FOU_DELETE };
        let mut request = Request::new(family, ACK, &[command, 1, 0, 0]);
        request.attribute(FOU_PORT, &port.to_be_bytes());
        request.attribute(FOU_FAMILY, &[if is_ipv6 { super::wire::AF_INET6 } else { super::wire::AF_INET }]);
        request.attribute(FOU_TYPE, &[FOU_GUE]);
        let errno = exchange(&mut socket, &request)?.1;
        let is_so = [Errno::EXIST, Errno::ADDRINUSE, Errno::NOENT].map(Errno::raw_os_error).contains(&errno);
        if errno == 0 || is_so { Ok(()) } else { Err(in_words(errno, None)) }
    }
}

fn fou_family(socket: &mut Socket) -> Result<u16, String> {
    let (kind, command) = CONTROLLER;
    let mut request = Request::new(kind, ACK, &[command, 1, 0, 0]);
    request.text(FAMILY_NAME, "fou");
    let (data, errno) = exchange(socket, &request)?;
    if errno == Errno::NOENT.raw_os_error() {
        return Err("this kernel has no GUE: load the module fou (modprobe fou)".to_owned());
    }
    let number = data.get(4..).into_iter().flat_map(attributes).flatten().find(|a| a.kind == FAMILY_ID);
    let number = number.and_then(|a| a.payload.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)));
    number.ok_or_else(|| "netlink: the controller named no family number".to_owned())
}

/// What followed the answer's header, and the errno of its end.
fn exchange(socket: &mut Socket, request: &Request) -> Result<(Vec<u8>, i32), String> {
    let mut datagram = Vec::new();
    request.write(&mut datagram, 1);
    socket.send(&datagram)?;
    let mut data = Vec::new();
    for _ in 0..16 {
        for reply in replies(socket.receive()?) {
            match reply.map_err(|e| format!("netlink: {e}"))? {
                Reply::Data { payload, .. } => data = payload.to_vec(),
                Reply::Done { errno, .. } | Reply::Verdict { errno, .. } => return Ok((data, errno)),
            }
        }
    }
    Err("netlink: an answer without end".to_owned())
}

fn words((_, text): Unspeakable) -> String {
    text
}
