//! The site most scenarios start from: the standard network, a director with the VIPs, a web server on each
//! real server and on the sorry server.

use std::collections::BTreeMap;

use super::client::{Hits, hits};
use super::host::Host;
use super::load::Load;
use super::table::Table;
use super::topology::{REAL_SERVERS, VIP, VIP6};
use super::wait::{seconds, wait_for};
use super::web::Web;
use super::{Lab, Verdict, same};

/// ipvsadm's words for the service most scenarios watch.
pub(crate) const WEB: &str = "-t 10.1.0.100:80";

/// Client, director and web servers.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where requests come from.
    pub client: Host,
    /// Where lvsd runs.
    pub director: Host,
    webs: BTreeMap<&'static str, Web>,
}

impl Lab {
    /// The standard network with web servers, real servers as DR wants them, and the VIPs on `d1`.
    ///
    /// # Errors
    /// What `ip` or a server said.
    pub(crate) fn dr_site(&mut self) -> Result<Site, String> {
        let site = self.plain_site()?;
        self.dr_real_servers(&[VIP, VIP6])?;
        Ok(site)
    }

    /// The standard network with web servers and the VIPs on `d1`; the real servers know no VIP yet.
    ///
    /// # Errors
    /// What `ip` or a server said.
    pub(crate) fn plain_site(&mut self) -> Result<Site, String> {
        self.standard()?;
        self.vips_on("d1", &[VIP, VIP6])?;
        let mut webs = BTreeMap::new();
        for name in REAL_SERVERS.into_iter().chain(["sorry"]) {
            webs.insert(name, Web::start(&self.host(name)?)?);
        }
        self.step("the site is up");
        Ok(Site { client: self.host("c")?, director: self.host("d1")?, webs })
    }
}

impl Site {
    /// The web server of a host.
    ///
    /// # Errors
    /// When the host has none.
    pub(crate) fn web(&mut self, host: &str) -> Result<&mut Web, String> {
        self.webs.get_mut(host).ok_or_else(|| format!("{host} has no web server"))
    }

    /// Lets the kernel forget connections to real servers that left the table. Without it a client that
    /// comes again from the port of a connection which a dead server refused is sent to that server for a
    /// minute (the entry of a refused DR connection stays in SYN_RECV: the director never sees the RST).
    ///
    /// # Errors
    /// When the kernel has no such parameter.
    pub(crate) fn expire_nodest_conn(&self) -> Verdict {
        self.director.sysctl(&[("net.ipv4.vs.expire_nodest_conn", "1")])
    }

    /// The director's table.
    ///
    /// # Errors
    /// What ipvsadm said.
    pub(crate) fn table(&self) -> Result<Table, String> {
        Table::read(&self.director)
    }

    /// Twelve requests to the VIP are answered as `want` says (`rs1=4 rs2=4 rs3=4`).
    ///
    /// # Errors
    /// When they are not.
    pub(crate) fn answers(&self, want: &str) -> Verdict {
        let got = self.hits()?.to_string();
        same("who answers twelve requests", &got.as_str(), &want)
    }

    /// Twelve requests to the VIP.
    ///
    /// # Errors
    /// When the client cannot be entered.
    pub(crate) fn hits(&self) -> Result<Hits, String> {
        hits(&self.client, 12, &format!("http://{VIP}/"))
    }

    /// Load on the VIP: a hundred requests a second; answers once the first twenty were answered.
    ///
    /// # Errors
    /// When nothing answers.
    pub(crate) fn load(&self) -> Result<Load, String> {
        let load = Load::start(&self.client, &format!("http://{VIP}/"), 100);
        load.wait_for_answers(20)?;
        Ok(load)
    }

    /// Waits until exactly these real servers get new connections.
    ///
    /// # Errors
    /// At the deadline, with the table that was there instead.
    pub(crate) fn wait_for_serving(&self, want: &[&str]) -> Verdict {
        wait_for(&format!("the VIP is served by {want:?}"), seconds(20), || {
            let table = self.table()?;
            if table.serving(WEB) == want { Ok(()) } else { Err(table.to_string()) }
        })
    }
}
