//! How an empty data directory is made. A copy needs nothing to be its own: what tells servers apart is in their settings.

use crate::programs;
use crate::quote::literal;
use crate::settings::{TEMPLATE_LOG_FILE_MB, TEMPORARY_DIRECTORY};
use moorage_domain::engine::Installation;
use moorage_domain::layout::{JobStep, TemplateSpec};
use sha1::{Digest, Sha1};
use std::time::Duration;

/// Raise it when the recipe changes: templates of the old one are then no longer used.
const RECIPE: u32 = 1;
/// Initialising takes about two seconds on a quiet machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Puts the time zones of the system into one file of statements; `posix` and `right` repeat all of them in variants
/// nobody asks for. Arguments: the converter, an empty directory, the file.
const CONVERT_ZONES: &str = r#"set -eu
zones=/usr/share/zoneinfo
[ -e "$zones/UTC" ] || { echo "there are no time zones in $zones: install the package tzdata" >&2; exit 1; }
mkdir "$2"
for zone in "$zones"/*; do
  case "${zone##*/}" in posix|right|posixrules|localtime|Factory|[a-z+]*) ;; *) ln -s "$zone" "$2/" ;; esac
done
echo "use mysql;" > "$3"
"$1" "$2" >> "$3"
echo >> "$3"
"#;

/// Feeds files of statements to a server that ends after them. Arguments: how many files, the files, the server.
const FEED: &str = r#"set -eu
cat "$1" "$2" > "$2.all"
shift
all="$1.all"
shift
exec "$@" < "$all"
"#;

/// Where the administrator comes from: over the socket and without a PROXY header. A connection with such a header keeps the
/// host name `localhost` and gets an address besides, so the account has the least specific pattern that fits that name and
/// no address ...
const ADMINISTRATORS_HOST: &str = "%t";
/// ... and these fit every address and are more specific: whoever comes through the gateway finds an account nobody can use,
/// even where the gateway runs under the administrator's own uid. (The server looks for literal hosts first, then for longer
/// patterns.)
const BEHIND_A_PROXY: &[&str] = &["0.0.0.0/128.0.0.0", "128.0.0.0/128.0.0.0", "_%:%"];

/// One administrator: the operating-system account that `serve` runs as, over the socket, without any password to fall back
/// on. The account that owns the views of the system stays; it is locked.
fn accounts(administrator: &str) -> String {
    let name = literal(administrator);
    let mut statements = format!(
        "DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys';\n\
         DELETE FROM mysql.proxies_priv;\n\
         INSERT INTO mysql.global_priv VALUES ('{ADMINISTRATORS_HOST}', {name}, '{{\"access\":18446744073709551615,\"plugin\":\"unix_socket\"}}');\n"
    );
    for host in BEHIND_A_PROXY {
        statements.push_str(&format!(
            "INSERT INTO mysql.global_priv VALUES ('{host}', {name}, \
             '{{\"access\":0,\"plugin\":\"mysql_native_password\",\"authentication_string\":\"invalid\",\"account_locked\":true}}');\n"
        ));
    }
    statements
}

/// The template of an installation.
pub fn template(installation: &Installation, administrator: &str) -> TemplateSpec {
    let inside = |path: &str| programs::inside(installation, path);
    let environment = programs::environment(installation);
    let run = |argv: Vec<String>| JobStep::Run { argv, environment: environment.clone(), stdin: String::new(), limit: LIMIT };
    let shell =
        |script: &str, arguments: Vec<String>| run([["/bin/sh", "-c", script, "sh"].map(String::from).to_vec(), arguments].concat());
    let engine = [
        String::from("--datadir={volume}"),
        String::from("--tmpdir={scratch}"),
        format!("--innodb-log-file-size={TEMPLATE_LOG_FILE_MB}M"),
        String::from("--innodb-buffer-pool-size=64M"),
        // Its log keeps what was written until a file of it is full; the smallest keeps copies small.
        String::from("--aria-log-file-size=8M"),
        String::from("--skip-name-resolve"),
    ];
    let mut install = vec![
        inside("usr/bin/mariadb-install-db"),
        String::from("--no-defaults"),
        format!("--basedir={}", inside("usr")),
        String::from("--auth-root-authentication-method=socket"),
        String::from("--auth-root-socket-user=root"),
        String::from("--skip-test-db"),
    ];
    install.extend(engine.clone());
    let mut bootstrap = vec![inside("usr/sbin/mariadbd"), String::from("--no-defaults"), String::from("--bootstrap")];
    bootstrap.extend(programs::directories(installation).into_iter().map(|(option, path)| format!("--{option}={path}")));
    bootstrap.extend(engine);

    let (zones, statements) = (String::from("{scratch}/zones.sql"), String::from("{scratch}/accounts.sql"));
    TemplateSpec {
        key: format!("mariadb-{}-{RECIPE}-{}", installation.version, file_name(administrator)),
        make: vec![
            run(install),
            shell(CONVERT_ZONES, vec![inside("usr/bin/mariadb-tzinfo-to-sql"), String::from("{scratch}/zones"), zones.clone()]),
            JobStep::Write { path: statements.clone(), contents: accounts(administrator) },
            shell(FEED, [vec![zones, statements], bootstrap].concat()),
            shell("mkdir \"$1\"", vec![format!("{{volume}}/{TEMPORARY_DIRECTORY}")]),
        ],
        personalise: Vec::new(),
    }
}

/// The account's name where it is fit for a file name, else a hash of it.
fn file_name(administrator: &str) -> String {
    let fit = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    if !administrator.is_empty() && administrator.len() <= 64 && administrator.chars().all(fit) {
        return String::from(administrator);
    }
    hex::encode(Sha1::digest(administrator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_quoted() {
        assert!(accounts("o'b\\x").contains("('%t', 'o''b\\\\x', '{\"access\""));
    }

    #[test]
    fn a_template_belongs_to_its_administrator() {
        assert_eq!(file_name("root"), "root");
        assert_eq!(file_name("DOMAIN\\some body").len(), 40);
        assert_ne!(file_name("a b"), file_name("a  b"));
    }
}
