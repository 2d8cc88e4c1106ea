//! Decides whether a token service that a registry names may see the registry's credentials. Pure.

use url::{Host, Url};

/// Domains below which strangers get names and that the public suffix list does not have, or not as a whole.
const SHARED: &str = include_str!("shared_domains.txt");
/// The token service of Alibaba's registries, which are the only ones below a shared domain that have one beside them.
const ALIBABA: (&str, &str) = ("dockerauth", "aliyuncs.com");

/// True for the registry itself, for a service of the same owner, and for the one that the user named. The registry may
/// be made to name somebody else's.
///
/// The same owner is the same host, or a host beside or above it below the same registrable domain. That is by the public
/// suffix list with the suffixes of hosting companies: `a.co.uk` and `b.co.uk` are strangers, as are all names in a private
/// zone (`.local`, `.corp`), below a shared domain, and names that hosters give to machines.
/// Another port than the usual one or the registry's own may be another user's of the same machine.
pub(super) fn may_have_credentials(registry: &Url, realm: &Url, named: Option<&str>) -> bool {
    if realm.origin() == registry.origin() {
        return true;
    }
    if registry.scheme() == "https" && realm.scheme() != "https" || !matches!(realm.scheme(), "http" | "https") {
        return false;
    }
    let usual_port = realm.port().is_none() || realm.port_or_known_default() == registry.port_or_known_default();
    if named.is_some_and(|named| is_named(realm, named, usual_port)) {
        return true;
    }
    let same_owner = match (registry.host(), realm.host()) {
        (Some(Host::Domain(own)), Some(Host::Domain(theirs))) => {
            own == theirs || is_relative(own, theirs) || is_alibabas(own, theirs)
        }
        (own, theirs) => own.is_some() && own == theirs,
    };
    usual_port && same_owner
}

/// `HOST`, or `HOST:PORT` for another port than the usual ones.
fn is_named(realm: &Url, named: &str, usual_port: bool) -> bool {
    let host = realm.host_str().unwrap_or_default();
    if usual_port && named.eq_ignore_ascii_case(host) {
        return true;
    }
    let port = realm.port_or_known_default().unwrap_or_default();
    named.rsplit_once(':').is_some_and(|(name, text)| name.eq_ignore_ascii_case(host) && text.parse() == Ok(port))
}

/// A host beside the registry's or one of those above it: `auth.example.com` and `example.com` for `r.eu.example.com`. Those
/// elsewhere below the domain are more often a customer's (`vps1.vps.hoster.net`) than its owner's.
fn is_relative(own: &str, theirs: &str) -> bool {
    let Some(shared) = domain(own).filter(|shared| domain(theirs) == Some(*shared)) else { return false };
    let parent = theirs.split_once('.').map_or("", |(_, parent)| parent);
    let near = theirs == shared || own == parent || is_below(own, parent);
    near && !is_machine(own, shared) && !is_machine(theirs, shared)
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// A name that was made from an address, such as `static.7-113-0-203.hoster.net` or `ip-cb007107.hoster.net`.
fn is_machine(host: &str, domain: &str) -> bool {
    let own = host.strip_suffix(domain).unwrap_or(host);
    let parts: Vec<&str> = own.split(['.', '-']).collect();
    let is_byte = |part: &&str| part.parse::<u8>().is_ok();
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit()) && part.bytes().any(|b| b.is_ascii_digit());
    parts.windows(4).any(|four| four.iter().all(is_byte)) || parts.iter().any(|part| part.len() == 8 && is_hex(part))
}

fn shared() -> impl Iterator<Item = &'static str> {
    SHARED.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace)
}

/// The registrable domain. `None` for a suffix itself, for a name below no known one, and for a shared domain.
fn domain(host: &str) -> Option<&str> {
    let domain = psl::domain(host.as_bytes()).filter(|domain| domain.suffix().is_known())?;
    std::str::from_utf8(domain.as_bytes()).ok().filter(|domain| !shared().any(|shared| shared == *domain))
}

/// `dockerauth.REGION.aliyuncs.com` for a registry in that region.
fn is_alibabas(registry: &str, realm: &str) -> bool {
    let (service, domain) = ALIBABA;
    let region = realm.split_once('.').filter(|(first, _)| *first == service).map(|(_, region)| region);
    region.is_some_and(|region| (region == domain || is_below(region, domain)) && is_below(registry, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_the_registrys_owner_only() {
        for (registry, realm, may) in [
            // As registries in use do it.
            ("https://registry-1.docker.io", "https://auth.docker.io/token", true),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("https://registry.digitalocean.com", "https://api.digitalocean.com/v2/registry/auth", true),
            ("https://uk.icr.io", "https://icr.io/oauth/token", true),
            ("https://registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth", true),
            ("https://git.team.co.uk:5050", "https://git.team.co.uk/jwt/auth", true),
            ("https://registry.team.co.uk", "https://auth.team.co.uk/token", true),
            ("https://docker.elastic.co", "https://docker-auth.elastic.co/auth", true),
            ("https://r.eu.example.com", "https://auth.eu.example.com/token", true),
            ("https://r.eu.example.com", "https://auth.example.com/token", true),
            ("https://r.example.com", "https://auth.r.example.com/token", true),
            ("http://r.example:5000", "http://r.example:5000/token", true),
            ("http://r.example:5000", "https://r.example/token", true),
            ("https://10.0.0.1:5000", "https://10.0.0.1/token", true),
            // Strangers below one suffix.
            ("https://a.co.uk", "https://b.co.uk/token", false),
            ("https://a.github.io", "https://b.github.io/token", false),
            ("https://x.amazonaws.com", "https://y.amazonaws.com/token", false),
            ("https://registry.cn-hangzhou.aliyuncs.com", "https://x.cn-hangzhou.fc.aliyuncs.com/auth", false),
            ("https://registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.oss-cn-hangzhou.aliyuncs.com/a", false),
            ("https://registry.elb.eu-west-1.amazonaws.com", "https://x.elb.eu-west-1.amazonaws.com/t", false),
            ("https://a.s3.amazonaws.com", "https://b.s3.amazonaws.com/token", false),
            ("https://a.s3.amazonaws.com", "https://a.eu-west-1.elb.amazonaws.com/token", false),
            ("https://a.azurecr.io", "https://b.azurewebsites.net/token", false),
            ("https://registry.a.svc.cluster.local", "https://auth.b.svc.cluster.local/token", false),
            ("https://registry.corp", "https://auth.corp/token", false),
            // A customer's names at the registry's hoster.
            ("https://container-registry.hoster.net", "https://vps1.vps.hoster.net/token", false),
            ("https://r.example.com", "https://a.b.example.com/token", false),
            ("https://registry.hoster.net", "https://static-203-0-113-7.hoster.net/token", false),
            ("https://203.0.113.7.static.hoster.net", "https://auth.static.hoster.net/token", false),
            ("https://registry.hoster.net", "https://vps-cb007107.hoster.net/token", false),
            ("https://co.uk", "https://a.co.uk/token", false),
            ("https://10.0.0.1", "https://10.0.0.2/token", false),
            ("https://1.2.3.4", "https://9.2.3.4/token", false),
            ("https://r.example.com", "https://r.example.com.evil.example/token", false),
            // Another port, or no TLS.
            ("https://r.example.com:5000", "https://r.example.com:5001/token", false),
            ("https://r.example.com", "https://auth.example.com:8443/token", false),
            ("https://r.example.com", "http://r.example.com/token", false),
            ("https://r.example.com:5000", "http://r.example.com:5000/token", false),
            ("https://r.example.com", "ftp://r.example.com/token", false),
        ] {
            let (registry, realm) = (Url::parse(registry).unwrap(), Url::parse(realm).unwrap());
            assert_eq!(may_have_credentials(&registry, &realm, None), may, "{registry} {realm}");
        }
    }

    /// Names that strangers get, by the public suffix list or by ours.
    #[test]
    fn names_that_anybody_gets_are_strangers() {
        let listed = "github.io azurewebsites.net cloudapp.azure.com members.linode.com up.railway.app run.app fly.dev \
                      onrender.com ngrok.io ts.net duckdns.org ondigitalocean.app digitaloceanspaces.com appspot.com \
                      vps.ovh.net eu-frankfurt-1.oci.customer-oci.com hinet-ip.hinet.net bc.googleusercontent.com \
                      clients.your-server.de pub.instances.scw.cloud compute.amazonaws.com traefik.me myfritz.net";
        for domain in shared().chain(listed.split_whitespace()) {
            let url = |text: String| Url::parse(&text).unwrap();
            let registry = url(format!("https://registry.{domain}"));
            for realm in ["evil.", "a.evil.", ""] {
                let realm = url(format!("https://{realm}{domain}/token"));
                assert!(!may_have_credentials(&registry, &realm, None), "{registry} {realm}");
            }
            assert!(may_have_credentials(&registry, &url(format!("https://registry.{domain}/token")), None));
        }
        assert!(shared().count() > 100);
    }

    #[test]
    fn the_user_names_another_one_with_its_port() {
        for (realm, named, may) in [
            ("https://login.example.org/token", "login.example.org", true),
            ("https://login.example.org/token", "LOGIN.example.org:443", true),
            ("https://login.example.org:5000/token", "login.example.org", true),
            ("https://login.example.org:8443/token", "login.example.org", false),
            ("https://login.example.org:8443/token", "login.example.org:8443", true),
            ("https://login.example.org:8444/token", "login.example.org:8443", false),
            ("http://login.example.org/token", "login.example.org", false),
            ("https://[::1]:7/token", "[::1]:7", true),
            ("https://x.login.example.org/token", "login.example.org", false),
        ] {
            let (registry, realm) = (Url::parse("https://r.example.com:5000").unwrap(), Url::parse(realm).unwrap());
            assert_eq!(may_have_credentials(&registry, &realm, Some(named)), may, "{realm} {named}");
        }
    }
}
