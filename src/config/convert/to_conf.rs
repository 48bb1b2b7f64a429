//! YAML to keepalived.conf.
//!
//! What keepalived's language cannot say is said in lvsd's own words, which keepalived skips: `defaults native` keeps the
//! meaning of what was not written. What of it keepalived has words for is written, too, so that it does nearly the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::checker::{keyword_of, type_of};
use crate::config::regex;
use crate::config::root::TOP_LEVEL;
use crate::config::vrrp::{damping, host};
use crate::syntax::comments::Attached;
use crate::syntax::draft::{Comments, Draft};
use crate::syntax::keyword::{Form, KeywordInfo, Language, Yaml};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value;
use crate::syntax::write::Document;

use super::leftovers::Leftovers;
use super::{Kind, Left, Rows, seconds_text, texts};

/// What a virtual server of YAML means, and keepalived has a word for.
const NATIVE: &[(&str, &str, Option<&str>)] = &[
    ("protocol", "protocol", Some("TCP")),
    ("interval", "delay_loop", Some("5")),
    ("timeout", "connect_timeout", Some("3")),
    ("fall", "retry", Some("2")),
    ("check_before_add", "alpha", None),
];

/// The statements of a configuration in keepalived.conf, and what was left out.
pub(super) fn document(nodes: &[Node], rows: &Rows, attached: Attached) -> (Document, Vec<Left>) {
    let is_native = !nodes.iter().any(|node| {
        &*node.keyword.text == "defaults"
            && node.values.first().is_some_and(|word| &*word.text == "keepalived")
    });
    let (leftovers, begin) = Leftovers::new(attached, nodes);
    let mut convert = ToConf { rows, leftovers, is_native, global: Vec::new(), checks: Vec::new() };
    let mut statements = Vec::new();
    for node in nodes.iter().filter(|node| &*node.keyword.text != "defaults") {
        convert.statement(TOP_LEVEL, node, &mut statements);
    }
    let (end, left) = convert.leftovers.end();
    let mut all = Vec::new();
    if is_native {
        all.push(Draft::words("defaults", ["native"], Span::default()));
    }
    if !convert.global.is_empty() {
        let global = statements.iter().position(|draft| draft.keyword == "global_defs");
        let mut global = match global {
            Some(at) => statements.remove(at),
            None => Draft::block("global_defs", Vec::new(), Span::default()),
        };
        global.block.get_or_insert_default().append(&mut convert.global);
        all.push(global);
    }
    all.extend(statements);
    (Document { statements: all, begin, end }, left)
}

struct ToConf<'a> {
    rows: &'a Rows,
    leftovers: Leftovers,
    is_native: bool,
    /// What belongs into `global_defs`.
    global: Vec<Draft>,
    /// Checks of the virtual server, for real servers that have none.
    checks: Vec<Node>,
}

impl ToConf<'_> {
    fn statements(&mut self, table: &'static str, nodes: &[Node]) -> Vec<Draft> {
        let mut out = Vec::new();
        for node in nodes {
            self.statement(table, node, &mut out);
        }
        out
    }

    fn inside(&mut self, table: &'static str, nodes: &[Node], comments: &mut Comments) -> Vec<Draft> {
        let outer = self.leftovers.open();
        let out = self.statements(table, nodes);
        self.leftovers.close(outer, comments);
        out
    }

    fn statement(&mut self, table: &'static str, node: &Node, out: &mut Vec<Draft>) {
        let Some(row) = self.rows.find(table, &node.keyword, Language::Yaml) else {
            return self.leftovers.leave(node, Kind::Lost, "keepalived.conf has no such word");
        };
        if self.special(table, row, node, out) {
            return;
        }
        let Some(keyword) = row.names.first().copied() else {
            return self.leftovers.leave(node, Kind::Lost, "keepalived.conf has no such word");
        };
        if let Some(draft) = self.plain(table, row, keyword, node) {
            self.add(row, draft, out);
        }
    }

    /// Adds a statement; lines go to those of the same block.
    fn add(&self, row: &KeywordInfo, draft: Draft, out: &mut Vec<Draft>) {
        let same = out.iter_mut().find(|known| row.form == Form::Lines && known.keyword == draft.keyword);
        match (same, draft.block) {
            (Some(same), Some(block)) => same.block.get_or_insert_default().extend(block),
            (_, block) => out.push(Draft { block, ..draft }),
        }
    }

    /// A statement that keepalived.conf says in the same way.
    fn plain(&mut self, table: &'static str, row: &KeywordInfo, keyword: &str, node: &Node) -> Option<Draft> {
        let first = node.values.first();
        let span = node.span();
        let values = match row.form {
            Form::Flag { .. } => match first.and_then(|word| value::yaml_boolean(word)) {
                Some(false) => vec!["off".to_owned()],
                _ => Vec::new(),
            },
            Form::Time { .. } => {
                let time = first.and_then(|word| value::time(word).ok());
                time.map(|time| seconds_text(time.duration)).into_iter().collect()
            }
            Form::Words { min, .. } => {
                let mut values = texts(&node.values);
                if let (0, [only]) = (min, values.as_slice())
                    && value::yaml_boolean(only) == Some(true)
                {
                    values.clear();
                }
                if let Some(command) =
                    values.first_mut().filter(|command| command.contains('"') && !command.contains('\''))
                {
                    // A double quote cannot stand within double quotes; to a command both are the same.
                    *command = command.replace('"', "'");
                }
                if super::to_yaml::CAPITALS.contains(&(table, row.names.first().copied().unwrap_or_default()))
                {
                    values.iter_mut().for_each(|value| value.make_ascii_uppercase());
                }
                values
            }
            Form::Block { .. } => return self.block(row, keyword, node),
            Form::Lines => return Some(self.lines(row, keyword, node)),
            Form::Number { .. } | Form::Text | Form::Address | Form::Unread => texts(&node.values),
        };
        let comments = self.leftovers.comments(node);
        Some(Draft::words(keyword, values, span).commented(comments))
    }

    fn block(&mut self, row: &KeywordInfo, keyword: &str, node: &Node) -> Option<Draft> {
        let Some(inner) = self.rows.inner(row) else {
            self.leftovers.leave(node, Kind::Lost, "keepalived.conf has no such block");
            return None;
        };
        let mut comments = self.leftovers.comments(node);
        let key = self.rows.key_of(inner);
        let (names, others): (Vec<Node>, Vec<Node>) =
            node.statements().iter().cloned().partition(|inner| key == Some(&*inner.keyword.text));
        for name in &names {
            let own = self.leftovers.attached.take(name.keyword.span);
            comments.before.extend(own.lines());
        }
        let values: Vec<String> = names.iter().flat_map(|name| texts(&name.values)).take(1).collect();
        let block = self.inside(inner, &others, &mut comments);
        Some(Draft { values, ..Draft::block(keyword, block, node.span()) }.commented(comments))
    }

    /// The lines of an item, or of a list of words.
    fn lines(&mut self, row: &KeywordInfo, keyword: &str, node: &Node) -> Draft {
        let comments = self.leftovers.comments(node);
        let mut lines = Vec::new();
        for word in &node.values {
            let mut parts: Vec<&str> = match row.inner {
                Some(_) => word.split_whitespace().collect(),
                None => vec![&word.text],
            };
            if parts.is_empty() {
                parts.push("");
            }
            let (first, rest) = (parts.remove(0), parts);
            lines.push(Draft::words(first, rest, word.span));
        }
        if let (Some(_), Some(table)) = (&node.block, row.inner) {
            let words = self.line(table, node);
            if let Some((first, rest)) = words.split_first() {
                lines.push(Draft::words(first, rest.iter().cloned(), node.keyword.span));
            }
        }
        if let Some(first) = lines.first_mut() {
            first.comments = comments;
        }
        Draft::block(keyword, lines, node.span())
    }

    /// The words of a line that is a mapping.
    fn line(&mut self, table: &'static str, node: &Node) -> Vec<String> {
        let key = self.rows.key_of(table);
        let mut words: Vec<String> = Vec::new();
        let first = node.statements().iter().find(|inner| key == Some(&*inner.keyword.text));
        words.extend(first.and_then(|inner| inner.values.first()).map(|word| word.text.to_string()));
        let option = |name: &str| node.statements().iter().find(|inner| &*inner.keyword.text == name);
        if table == host::DELAYS_TABLE {
            let time = |name| {
                let time = value::time(option(name)?.values.first()?).ok()?;
                Some(seconds_text(time.duration))
            };
            let up = time("up");
            words.push(time("down").unwrap_or_else(|| "0".to_owned()));
            words.extend(up);
            if let Some(damping) = option("damping") {
                self.leftovers.leave(damping, Kind::Lost, "keepalived.conf has no such word");
            }
            return words;
        }
        let is_reversed = option("reverse")
            .and_then(|inner| inner.values.first())
            .and_then(|word| value::yaml_boolean(word));
        for inner in node.statements().iter().filter(|inner| key != Some(&*inner.keyword.text)) {
            if (table, &*inner.keyword.text) == ("track", "reverse") {
                if option("weight").is_none() {
                    self.leftovers.leave(inner, Kind::Lost, "keepalived.conf says it behind a weight only");
                }
                continue;
            }
            self.option(table, inner, &mut words);
            if let ("weight", Some(is_reversed), 1) = (&*inner.keyword.text, is_reversed, inner.values.len())
            {
                words.push(if is_reversed { "reverse" } else { "noreverse" }.to_owned());
            }
        }
        words
    }

    fn option(&mut self, table: &'static str, node: &Node, words: &mut Vec<String>) {
        let row = self.rows.find(table, &node.keyword, Language::Yaml);
        let Some((row, name)) = row.and_then(|row| Some((row, *row.names.first()?))) else {
            return self.leftovers.leave(node, Kind::Lost, "keepalived.conf has no such word");
        };
        self.leftovers.keep_comments(node);
        let is_alone = match row.form {
            Form::Flag { .. } => true,
            Form::Words { min, .. } => min == 0,
            _ => false,
        };
        match (node.values.first().and_then(|word| value::yaml_boolean(word)), is_alone) {
            (Some(true), true) => words.push(name.to_owned()),
            (Some(false), true) => {}
            _ => {
                words.push(name.to_owned());
                words.extend(texts(&node.values));
            }
        }
        if let Some(inner) = row.inner {
            for hop in node.statements() {
                self.option(inner, hop, words);
            }
        }
    }

    /// What keepalived.conf says in another form. False where it does not.
    fn special(&mut self, table: &'static str, row: &KeywordInfo, node: &Node, out: &mut Vec<Draft>) -> bool {
        let name = row.yaml.first().copied().unwrap_or_default();
        let span = node.span();
        match (table, name) {
            (TOP_LEVEL, "vrrp") => self.vrrp(node, out),
            (TOP_LEVEL, "ipvs") => self.ipvs(node, out),
            (TOP_LEVEL, "virtual_servers") => self.virtual_server(node, out),
            (TOP_LEVEL, "virtual_server_groups") => self.group(node, out),
            (_, "fall") => {
                let fall =
                    node.values.first().and_then(|word| value::number(word, 1, u32::MAX).ok()).unwrap_or(1);
                let least = match self.rows.find(table, "retry", Language::Keepalived).map(|row| row.form) {
                    Some(Form::Number { min, .. }) => min,
                    // It has no such word.
                    _ => u32::MAX,
                };
                let comments = self.leftovers.comments(node);
                let draft = match fall - 1 {
                    retry if retry >= least => Draft::words("retry", [retry.to_string()], span),
                    _ => Draft::words("fall", [fall.to_string()], span),
                };
                out.push(draft.commented(comments));
            }
            ("virtual_server" | "real_server" | "sorry_server", "forwarding") => {
                let comments = self.leftovers.comments(node);
                let keyword = if table == "virtual_server" { "lb_kind" } else { "lvs_method" };
                out.push(Draft::words(keyword, forwarding(node), span).commented(comments));
            }
            ("virtual_server", "scheduler_flags") => {
                let mut comments = self.leftovers.comments(node);
                for flag in &node.values {
                    let draft = Draft::words(&flag.text, [""; 0], flag.span);
                    out.push(draft.commented(std::mem::take(&mut comments)));
                }
            }
            ("virtual_server", "sorry_server") => {
                let comments = self.leftovers.comments(node);
                let address = match &node.block {
                    Some(_) => option(node, "address"),
                    None => node.values.first(),
                };
                out.push(Draft::words("sorry_server", endpoint(address), span).commented(comments));
                for inner in node.statements() {
                    let values = match &*inner.keyword.text {
                        "inhibit" => match inner.values.first().and_then(|word| value::yaml_boolean(word)) {
                            Some(false) => continue,
                            _ => ("sorry_server_inhibit", Vec::new()),
                        },
                        "forwarding" => ("sorry_server_lvs_method", forwarding(inner)),
                        _ => continue,
                    };
                    let own = self.leftovers.comments(inner);
                    out.push(Draft::words(values.0, values.1, inner.span()).commented(own));
                }
            }
            ("real_server" | "vrrp_check", "check") => self.check(node, out),
            ("url", "regex") => match node.values.first().and_then(|word| regex::as_conf(&word.text)) {
                Some(expression) => {
                    let comments = self.leftovers.comments(node);
                    out.push(Draft::words("regex", [expression], span).commented(comments));
                }
                None => self.leftovers.leave(node, Kind::Lost, "keepalived.conf cannot say this expression"),
            },
            ("vrrp_instance", "preempt")
                if node.values.first().and_then(|w| value::yaml_boolean(w)) == Some(false) =>
            {
                let comments = self.leftovers.comments(node);
                out.push(Draft::words("nopreempt", [""; 0], span).commented(comments));
            }
            ("vrrp_instance", "use_vmac") => {
                let comments = self.leftovers.comments(node);
                if node.values.first().and_then(|word| value::yaml_boolean(word)) == Some(false) {
                    self.leftovers.pending.extend(comments.lines());
                    return true;
                }
                let mut values = texts(&node.values);
                values.retain(|value| value::yaml_boolean(value).is_none());
                values.extend(node.statements().iter().flat_map(|inner| texts(&inner.values)));
                out.push(Draft::words("use_vmac", values, span).commented(comments));
            }
            ("auth_hmac", "keys") => {
                let comments = self.leftovers.comments(node);
                let values = ["id", "secret"].into_iter().filter_map(|key| option(node, key));
                out.push(Draft::words("key", values.map(|word| &*word.text), span).commented(comments));
            }
            ("bfd_instance", "min_rx" | "min_tx" | "idle_tx") => {
                let comments = self.leftovers.comments(node);
                let time = node.values.first().and_then(|word| value::time(word).ok());
                // It counts in milliseconds.
                let thousandfold = time.map(|time| seconds_text(time.duration.saturating_mul(1000)));
                out.push(Draft::words(name, thousandfold, span).commented(comments));
            }
            (_, "damping")
                if node.block.is_some() && row.inner == Some(damping::TABLE) && !row.names.is_empty() =>
            {
                let comments = self.leftovers.comments(node);
                let half_life = option(node, "half_life").and_then(|word| value::time(word).ok());
                let limit = option(node, "limit").map(|word| word.text.to_string());
                let values = half_life.map(|time| seconds_text(time.duration)).into_iter().chain(limit);
                out.push(Draft::words("damping", values, span).commented(comments));
            }
            ("ipvs", "sysctl") => {
                let mut comments = self.leftovers.comments(node);
                let outer = self.leftovers.open();
                let mut block = Vec::new();
                for setting in node.statements() {
                    let own = self.leftovers.comments(setting);
                    block.push(
                        Draft::words(&setting.keyword.text, texts(&setting.values), setting.span())
                            .commented(own),
                    );
                }
                self.leftovers.close(outer, &mut comments);
                out.push(Draft::block("sysctl", block, span).commented(comments));
            }
            _ => return false,
        }
        true
    }

    /// YAML's `vrrp`: what keepalived.conf has at its top level and in `global_defs`.
    fn vrrp(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let comments = self.leftovers.comments(node);
        self.leftovers.pending.extend(comments.before.into_iter().chain(comments.behind));
        for inner in node.statements() {
            let word = &*inner.keyword.text;
            let row = self.rows.find("vrrp", word, Language::Yaml);
            let key = row.and_then(|row| row.yaml.first().copied()).unwrap_or_default();
            let rows = self.rows;
            let found = [TOP_LEVEL, "global_defs"].into_iter().find_map(|table| {
                let same = |row: &&KeywordInfo| row.spelling == Yaml::In("vrrp", key);
                Some((table, rows.of(table).iter().find(same)?))
            });
            let Some((table, row)) = found else {
                self.leftovers.leave(inner, Kind::Lost, "keepalived.conf has no such word");
                continue;
            };
            let keyword = row.names.first().copied().unwrap_or_default();
            let Some(draft) = self.plain(table, row, keyword, inner) else { continue };
            if table == TOP_LEVEL {
                self.add(row, draft, out);
            } else {
                self.global.push(draft);
            }
        }
        self.leftovers.pending.extend(comments.end);
    }

    /// YAML's `ipvs`: what keepalived.conf has in `global_defs`, but for the kernel's settings.
    fn ipvs(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let comments = self.leftovers.comments(node);
        self.leftovers.pending.extend(comments.before.into_iter().chain(comments.behind));
        for inner in node.statements() {
            let span = inner.span();
            match &*inner.keyword.text {
                "timeouts" => {
                    let own = self.leftovers.comments(inner);
                    let pairs = inner.statements().iter().flat_map(|timeout| {
                        let name = if &*timeout.keyword.text == "tcp_fin" {
                            "tcpfin"
                        } else {
                            &*timeout.keyword.text
                        };
                        let time = timeout.values.first().and_then(|word| value::time(word).ok());
                        [Some(name.to_owned()), time.map(|time| seconds_text(time.duration))]
                    });
                    let values: Vec<String> = pairs.flatten().collect();
                    self.global.push(Draft::words("lvs_timeouts", values, span).commented(own));
                }
                "flush" => {
                    let own = self.leftovers.comments(inner);
                    if inner.values.first().and_then(|word| value::yaml_boolean(word)) != Some(false) {
                        self.global.push(Draft::words("lvs_flush", [""; 0], span).commented(own));
                    }
                }
                "sync_daemon" => {
                    let own = self.leftovers.comments(inner);
                    let interface = option(inner, "interface").map(|word| word.text.to_string());
                    let others = inner.statements().iter().filter(|o| &*o.keyword.text != "interface");
                    let words = others.flat_map(|o| {
                        let name = match &*o.keyword.text {
                            "instance" => "inst",
                            "max_len" => "maxlen",
                            same => same,
                        };
                        [name.to_owned()].into_iter().chain(texts(&o.values))
                    });
                    let values: Vec<String> = interface.into_iter().chain(words).collect();
                    self.global.push(Draft::words("lvs_sync_daemon", values, span).commented(own));
                }
                _ => {
                    let mut block = Vec::new();
                    self.statement("ipvs", inner, &mut block);
                    match out.iter_mut().find(|draft| draft.keyword == "ipvs") {
                        Some(known) => known.block.get_or_insert_default().extend(block),
                        None => out.push(Draft::block("ipvs", block, span)),
                    }
                }
            }
        }
        self.leftovers.pending.extend(comments.end);
    }

    fn virtual_server(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let mut heading = Vec::new();
        let mut others = Vec::new();
        let mut checks = Vec::new();
        for inner in node.statements() {
            match &*inner.keyword.text {
                "address" => {
                    heading = endpoint(inner.values.first());
                    comments.before.extend(self.leftovers.attached.take(inner.keyword.span).lines());
                }
                kind @ ("fwmark" | "group") => {
                    heading = vec![kind.to_owned()];
                    heading.extend(texts(&inner.values));
                    comments.before.extend(self.leftovers.attached.take(inner.keyword.span).lines());
                }
                "check" | "checks" => checks.push(inner.clone()),
                _ => others.push(inner.clone()),
            }
        }
        self.checks = checks;
        let outer = self.leftovers.open();
        let mut block = Vec::new();
        if self.is_native {
            let has = |yaml: &str| others.iter().any(|inner| &*inner.keyword.text == yaml);
            for (yaml, keyword, word) in NATIVE.iter().filter(|(yaml, ..)| !has(yaml)) {
                // A firewall mark has no protocol.
                if *yaml != "protocol" || heading.first().is_none_or(|first| first != "fwmark") {
                    block.push(Draft::words(keyword, word.iter().copied(), Span::default()));
                }
            }
        }
        for inner in &others {
            match &*inner.keyword.text {
                "persistence" => self.persistence(inner, is_ipv4(node), &mut block),
                "real_servers" => self.real_server(inner, &mut block),
                _ => self.statement("virtual_server", inner, &mut block),
            }
        }
        for check in std::mem::take(&mut self.checks) {
            self.leftovers.keep_comments(&check);
        }
        self.leftovers.close(outer, &mut comments);
        let draft = Draft { values: heading, ..Draft::block("virtual_server", block, node.span()) };
        out.push(draft.commented(comments));
    }

    fn persistence(&mut self, node: &Node, is_ipv4: bool, out: &mut Vec<Draft>) {
        let comments = self.leftovers.comments(node);
        let time = if node.block.is_some() { option(node, "timeout") } else { node.values.first() };
        let time = time.and_then(|word| value::time(word).ok());
        let time = time.map(|time| time.duration.as_secs().to_string());
        match time {
            Some(time) => {
                out.push(Draft::words("persistence_timeout", [time], node.span()).commented(comments))
            }
            None => self.leftovers.pending.extend(comments.lines()),
        }
        for inner in node.statements() {
            let Some(word) = inner.values.first() else { continue };
            let (keyword, value) = match &*inner.keyword.text {
                "netmask" => {
                    let length = value::number(word, 1, 32).ok().filter(|_| is_ipv4);
                    let mask = length.map(|length| Ipv4Addr::from(u32::MAX << (32 - length)).to_string());
                    ("persistence_granularity", mask.unwrap_or_else(|| word.text.to_string()))
                }
                "engine" => ("persistence_engine", word.text.to_string()),
                _ => continue,
            };
            let own = self.leftovers.comments(inner);
            out.push(Draft::words(keyword, [value], inner.span()).commented(own));
        }
    }

    fn real_server(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let mut others = Vec::new();
        let mut heading = Vec::new();
        for inner in node.statements() {
            if &*inner.keyword.text == "address" {
                heading = endpoint(inner.values.first());
                comments.before.extend(self.leftovers.attached.take(inner.keyword.span).lines());
            } else {
                others.push(inner.clone());
            }
        }
        let has_check = others.iter().any(|inner| matches!(&*inner.keyword.text, "check" | "checks"));
        if !has_check {
            others.extend(self.checks.iter().cloned());
        }
        let block = self.inside("real_server", &others, &mut comments);
        let draft = Draft { values: heading, ..Draft::block("real_server", block, node.span()) };
        out.push(draft.commented(comments));
    }

    fn check(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let Some(_) = &node.block else {
            for kind in &node.values {
                let Some(keyword) = keyword_of(kind) else { continue };
                let draft = Draft::block(keyword, Vec::new(), kind.span);
                out.push(draft.commented(std::mem::take(&mut comments)));
            }
            return;
        };
        let table = option(node, "type").and_then(|kind| keyword_of(kind));
        let Some(table) = table.filter(|table| type_of(table).is_some()) else { return };
        let outer = self.leftovers.open();
        let of_url = |inner: &&Node| {
            matches!((table, &*inner.keyword.text), ("HTTP_GET" | "SSL_GET", "status" | "digest"))
        };
        let common: Vec<Node> = node.statements().iter().filter(of_url).cloned().collect();
        let mut block = Vec::new();
        let word = |name: &str| option(node, name).and_then(|word| value::yaml_boolean(word));
        let is_reversed =
            word("reverse").filter(|_| table == "FILE_CHECK" && option(node, "weight").is_some());
        for inner in node.statements().iter().filter(|inner| !of_url(inner)) {
            match (table, &*inner.keyword.text) {
                (_, "type") => {}
                ("FILE_CHECK", "reverse") if is_reversed.is_some() => {}
                ("FILE_CHECK", "weight") if inner.values.len() == 1 && is_reversed.is_some() => {
                    let own = self.leftovers.comments(inner);
                    let sign = if is_reversed == Some(true) { "reverse" } else { "noreverse" };
                    let values = texts(&inner.values).into_iter().chain([sign.to_owned()]);
                    block.push(Draft::words("weight", values, inner.span()).commented(own));
                }
                ("HTTP_GET" | "SSL_GET", "url" | "urls") => self.urls(inner, &common, &mut block),
                _ => self.statement(table, inner, &mut block),
            }
        }
        self.leftovers.close(outer, &mut comments);
        out.push(Draft::block(table, block, node.span()).commented(comments));
    }

    fn urls(&mut self, node: &Node, common: &[Node], out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let of_paths = node.values.iter().map(|word| {
            let keyword = Word { text: "path".into(), ..word.clone() };
            vec![Node { keyword, values: vec![word.clone()], block: None }]
        });
        let blocks: Vec<Vec<Node>> = match &node.block {
            Some(block) => vec![block.clone()],
            None => of_paths.collect(),
        };
        for mut block in blocks {
            for inner in common {
                if !block.iter().any(|own| own.keyword == inner.keyword) {
                    block.push(inner.clone());
                }
            }
            let mut own = std::mem::take(&mut comments);
            let inner = self.inside("url", &block, &mut own);
            out.push(Draft::block("url", inner, node.span()).commented(own));
        }
    }

    fn group(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let name: Vec<String> = option(node, "name").map(|word| word.text.to_string()).into_iter().collect();
        let outer = self.leftovers.open();
        let mut block = Vec::new();
        for inner in node.statements() {
            let mut own = self.leftovers.comments(inner);
            for word in &inner.values {
                let draft = match &*inner.keyword.text {
                    "addresses" => {
                        let (ip, port) = match word.strip_prefix('[').and_then(|w| w.split_once(']')) {
                            Some((ip, rest)) => (ip, rest.strip_prefix(':')),
                            None => match word.rsplit_once(':') {
                                Some((ip, port)) if !ip.contains(':') => (ip, Some(port)),
                                _ => (&*word.text, None),
                            },
                        };
                        Draft::words(ip, port, word.span)
                    }
                    "fwmarks" => Draft::words("fwmark", word.split_whitespace(), word.span),
                    _ => continue,
                };
                block.push(draft.commented(std::mem::take(&mut own)));
            }
            self.leftovers.pending.extend(own.lines());
        }
        self.leftovers.close(outer, &mut comments);
        let draft = Draft { values: name, ..Draft::block("virtual_server_group", block, node.span()) };
        out.push(draft.commented(comments));
    }
}

/// The value of a statement of a block.
fn option<'a>(node: &'a Node, name: &str) -> Option<&'a Word> {
    node.statements().iter().find(|inner| &*inner.keyword.text == name)?.values.first()
}

/// `IP:PORT` as words.
fn endpoint(word: Option<&Word>) -> Vec<String> {
    let Some(word) = word else { return Vec::new() };
    let bare = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')).unwrap_or(word);
    match (bare.parse::<IpAddr>(), word.parse::<SocketAddr>()) {
        (Err(_), Ok(address)) => vec![address.ip().to_string(), address.port().to_string()],
        _ => vec![bare.to_owned()],
    }
}

/// Whether the clients of a virtual server are of IPv4.
fn is_ipv4(node: &Node) -> bool {
    if let Some(family) = option(node, "ip_family") {
        return &*family.text == "inet";
    }
    let real_server = node.statements().iter().find(|inner| &*inner.keyword.text == "real_servers");
    let address = option(node, "address").or_else(|| option(real_server?, "address"));
    !address.is_some_and(|word| word.contains("::") || word.starts_with('['))
}

/// A forwarding method in keepalived's words.
fn forwarding(node: &Node) -> Vec<String> {
    let mut words: Vec<String> = texts(&node.values);
    if let Some(method) = node.statements().first() {
        words = vec![method.keyword.text.to_string()];
        for option in method.statements() {
            if &*option.keyword.text != "checksum" {
                words.push(option.keyword.text.to_string());
            }
            words.extend(texts(&option.values));
        }
        words.extend(texts(&method.values));
    }
    if let Some(method) = words.first_mut() {
        method.make_ascii_uppercase();
    }
    words
}
