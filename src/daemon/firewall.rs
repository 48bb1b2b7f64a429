//! The firewall's rules, as its own programs list them.

use std::fs;
use std::path::Path;

use super::programs::{Answered, ask};
use crate::net::firewall::{Rules, iptables, nft};

/// All rules that can be read; the others are named in `unseen`.
pub(crate) fn rules(unseen: &mut Vec<String>) -> Rules {
    let mut rules = Rules::default();
    let mut has_nft = false;
    let mut has_new_iptables = false;
    match ask("nft", &["-j", "list", "ruleset"]) {
        Ok(Answered::Absent) => {}
        Ok(Answered::Output(json)) => match nft::read(&json) {
            Ok(listing) => {
                has_nft = true;
                has_new_iptables = listing.has_iptables;
                rules.tables.extend(listing.rules.tables);
            }
            Err(why) => unseen.push(format!("the firewall's rules: {why}")),
        },
        Err(why) => unseen.push(format!("the firewall's rules: {why}")),
    }
    for (program, names, is_ipv4) in
        [("iptables", "/proc/net/ip_tables_names", true), ("ip6tables", "/proc/net/ip6_tables_names", false)]
    {
        // Tables of the old kind; not read where there are none, because reading loads modules.
        if fs::read_to_string(Path::new(names)).is_ok_and(|names| !names.trim().is_empty()) {
            read(
                &[&format!("{program}-legacy-save"), &format!("{program}-save")],
                is_ipv4,
                &mut rules,
                unseen,
            );
        }
        if has_new_iptables {
            read(&[&format!("{program}-nft-save"), &format!("{program}-save")], is_ipv4, &mut rules, unseen);
        }
    }
    if !has_nft && Path::new("/sys/module/nf_tables").exists() {
        unseen.push("rules of nftables: nft cannot be asked (package nftables)".to_owned());
    }
    rules
}

/// What the first of these programs that is there says.
fn read(programs: &[&str], is_ipv4: bool, rules: &mut Rules, unseen: &mut Vec<String>) {
    for program in programs {
        match ask(program, &[]) {
            Ok(Answered::Absent) => continue,
            Ok(Answered::Output(text)) => rules.tables.extend(iptables::read(&text, is_ipv4).tables),
            Err(why) => unseen.push(format!("the firewall's rules: {why}")),
        }
        return;
    }
    unseen.push(format!("rules of iptables: none of {} is installed", programs.join(", ")));
}
