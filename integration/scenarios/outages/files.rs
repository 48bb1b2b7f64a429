//! Configurations of the outages.

use crate::lab::topology::VIP;

/// Three real servers by this method, with HTTP checks of a few seconds; `{}` for what more the virtual server has.
pub(super) fn site(kind: &str, more: &str) -> String {
    let network = if kind == "NAT" { "10.3.0" } else { "10.1.0" };
    let reals: String = [21, 22, 23].map(|n| real(&format!("{network}.{n}"), "")).concat();
    server(kind, more, &reals)
}

pub(super) fn server(kind: &str, more: &str, reals: &str) -> String {
    format!(
        "virtual_server {VIP} 80 {{\n    delay_loop 2\n    lb_algo rr\n    lb_kind {kind}\n    protocol TCP\n{more}\n{reals}}}\n"
    )
}

pub(super) fn real(address: &str, more: &str) -> String {
    format!("    real_server {address} 80 {{\n{more}\n{}    }}\n", http("", 80))
}

fn http(more: &str, port: u16) -> String {
    format!(
        "        HTTP_GET {{\n            url {{\n                path /health\n                status_code 200\n            }}\n\
         {more}            connect_port {port}\n            connect_timeout 2\n            retry 1\n            \
         delay_before_retry 1\n        }}\n"
    )
}

/// Each real server with this in its check.
pub(super) fn checks(kind: &str, more: &str, port: u16) -> String {
    let check = http(more, port);
    let reals: String =
        [21, 22, 23].map(|n| format!("    real_server 10.1.0.{n} 80 {{\n{check}    }}\n")).concat();
    server(kind, "", &reals)
}
