//! Files that are almost what programs read, and what servers' configurations say of client certificates; the look-alikes beside
//! them. Files alone.

use Expect::{Healthy, Risk, Root};
use countersign_diagnose::cause::Cause;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, GeneralSubtree, NameConstraints, SanType,
    string::Ia5String,
};

use crate::doctor_corpus::forge::{self, Authority, DAY, HOUR};
use crate::doctor_corpus::scenario::{Expect, Scenario};
use crate::doctor_corpus::workshop::{Invocation, VERIFY_CLIENT, Workshop};

/// The client's files, and a server's configuration, whose operator wants clients to be turned away without a certificate.
fn configured(workshop: &Workshop, name: &str, text: &str) -> Invocation {
    workshop.write(name, text);
    let arguments = format!("--file {name} --expect-enforced");
    workshop
        .ask()
        .with("--cert client.pem --key client.key --ca root.pem")
        .with(&arguments)
}

/// An issuing CA that may only issue for addresses of `example.org`, and a client of it.
fn bound_to_a_mail_domain(workshop: &Workshop, address: &str) -> Invocation {
    let mut draft = forge::authority("Corpus Mail CA");
    draft.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::Rfc822Name("example.org".to_owned())],
        excluded_subtrees: vec![],
    });
    let bound = workshop.root.below(draft);
    let mut client = forge::client("client");
    let address = Ia5String::try_from(address).expect("ASCII");
    client.subject_alt_names = vec![SanType::Rfc822Name(address)];
    workshop.client_is(&bound.issue(&client), &bound.pem());
    workshop.client_files()
}

/// A client whose issuing CA is left out, of these two names.
fn without_its_issuer(workshop: &Workshop, root: &str, issuing: &str) -> Invocation {
    let root = Authority::root(forge::authority(root));
    let issuing = root.below(forge::authority(issuing));
    workshop.write("root.pem", root.pem());
    workshop.client_is(&issuing.issue(&forge::client("client")), "");
    workshop
        .client_files()
        .shows(VERIFY_CLIENT, "unable to get local issuer")
}

fn of_windows(workshop: &Workshop) -> CertificateParams {
    let mut draft = forge::client("worker");
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "DE");
    name.push(DnType::StateOrProvinceName, "Bayern");
    name.push(DnType::CommonName, "worker");
    draft.distinguished_name = name;
    workshop.client(&draft);
    draft
}

const TRADITIONAL: &str =
    "openssl rsa -traditional -des3 -in client.key -passout pass:changeit -out traditional.key";

/// An RSA client, its key in the traditional form under triple DES.
fn under_triple_des(workshop: &Workshop, password: &str) -> Invocation {
    workshop.run("openssl req -new -newkey rsa:2048 -nodes -keyout client.key -subj /CN=client -out client.csr");
    workshop.write("issuing.key", workshop.issuing.key_pem());
    workshop.write(
        "ext",
        "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n",
    );
    workshop.run("openssl x509 -req -in client.csr -CA issuing.pem -CAkey issuing.key -days 9 -extfile ext -out client.leaf.pem");
    workshop.join("client.pem", &["client.leaf.pem", "issuing.pem"]);
    workshop.run(TRADITIONAL);
    workshop.write_key("client.key", workshop.read("traditional.key"));
    workshop.write("password", format!("{password}\n"));
    workshop
        .client_files()
        .with("--password-file password")
        .shows("cat client.key", "DES-EDE3-CBC")
}

const NGINX_OPTIONAL: &str = "server {\n  listen 443 ssl;\n  ssl_certificate s.pem;\n  ssl_client_certificate ca.pem;\n  ssl_verify_client optional;\n";

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "empty line before the END line",
        source: "https://github.com/bmwcarit/MoCOCrW/pull/63",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            let leaf = w.read("client.leaf.pem");
            w.write("client.pem", leaf.replace("-----END", "\n-----END"));
            w.client_files()
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "line breaks doubled by the clipboard, in the key",
        source: "https://github.com/hdecarne-github/certmgr/issues/5",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.write_key("client.key", w.read("client.key").replace('\n', "\n\n"));
            w.client_files()
                .shows("openssl pkey -noout -in client.key", "Could not read")
        },
    },
    Scenario {
        name: "empty lines between the blocks",
        source: "https://github.com/ESGF/esgf-installer/pull/159",
        expect: Healthy,
        build: |w| {
            let chain = w.read("client.pem");
            w.write("client.pem", chain.replace("-----BEGIN", "\n\n-----BEGIN"));
            w.client_files().shows(VERIFY_CLIENT, ".pem: OK")
        },
    },
    Scenario {
        name: "END line indented with the string it stood in",
        source: "https://github.com/openssl/openssl/issues/8815",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            let leaf = w.read("client.leaf.pem");
            w.write("client.pem", leaf.replace("-----END", "    -----END"));
            w.client_files()
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "dashes of a word processor",
        source: "https://github.com/aws/s2n-tls/pull/776",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            let leaf = w.read("client.leaf.pem");
            w.write("client.pem", leaf.replace("-----", "\u{2014}\u{2014}-"));
            w.client_files()
                .shows("openssl x509 -in client.pem", "Unable to load")
        },
    },
    Scenario {
        name: "byte order mark between two joined files",
        source: "https://github.com/openssl/openssl/pull/10112",
        expect: Root(&[Cause::FileEncoding]),
        build: |w| {
            let (leaf, issuing) = (w.read("server.leaf.pem"), w.issuing.pem());
            w.write("server.pem", format!("{leaf}\u{feff}{issuing}"));
            w.server_files()
        },
    },
    Scenario {
        name: "EC key under the label of PKCS#8, which OpenSSL reads all the same",
        source: "https://github.com/C2SP/wycheproof/issues/178",
        expect: Risk(Cause::FileNotPem),
        build: |w| {
            w.run("openssl ec -in client.key -out sec1.key");
            let key = w.read("sec1.key").replace("EC PRIVATE", "PRIVATE");
            w.write_key("client.key", key);
            w.client_files()
                .shows("openssl pkey -in client.key", "BEGIN PRIVATE KEY")
        },
    },
    Scenario {
        name: "Kubernetes secret, encoded twice",
        source: "https://github.com/ory/hydra/issues/1875",
        expect: Root(&[Cause::FileNotPem]),
        build: |w| {
            w.run("openssl base64 -in client.pem -out twice.pem");
            w.write("client.pem", w.read("twice.pem"));
            w.client_files()
        },
    },
    Scenario {
        name: "list in DER (nginx)",
        source: "https://github.com/7ritn/VaulTLS/issues/148",
        expect: Risk(Cause::FileNotPem),
        build: |w| {
            w.write("issuing.crl.pem", w.issuing.list(&[], -HOUR, 30 * DAY));
            w.write("root.crl", w.root.list(&[], -HOUR, 30 * DAY));
            w.run("openssl crl -in issuing.crl.pem -outform DER -out issuing.crl");
            w.client_files()
                .with("--crl issuing.crl --crl root.crl")
                .shows("grep -c BEGIN issuing.crl", "0")
        },
    },
    Scenario {
        name: "traditional key under triple DES, wrong passphrase",
        source: "https://github.com/vatesfr/xen-orchestra/issues/2962",
        expect: Root(&[Cause::KeyPasswordWrong]),
        build: |w| under_triple_des(w, "not it"),
    },
    Scenario {
        name: "traditional key under triple DES, passphrase at hand",
        source: "https://github.com/vatesfr/xen-orchestra/issues/2962",
        expect: Healthy,
        build: |w| under_triple_des(w, "changeit"),
    },
    Scenario {
        name: "key of another certificate under triple DES and SHA-1",
        source: "https://github.com/nodejs/node/issues/40672",
        expect: Root(&[Cause::KeyCertMismatch]),
        build: |w| {
            w.run("openssl pkcs8 -topk8 -v1 PBE-SHA1-3DES -in server.key -passout pass:changeit -out old.key");
            w.run("rm server.pem server.leaf.pem");
            w.write_key("client.key", w.read("old.key"));
            w.write("password", "changeit\n");
            w.client_files().with("--password-file password").shows(
                "openssl pkey -noout -in client.key -passin pass:no",
                "bad decrypt",
            )
        },
    },
    Scenario {
        name: "certificate renewed, the old one left beside it",
        source: "https://github.com/acmesh-official/acme.sh/issues/3213",
        expect: Root(&[Cause::RotationHalfApplied]),
        build: |w| {
            w.client(&forge::valid(forge::client("client"), -88 * DAY, 2 * DAY));
            w.run("cp client.leaf.pem client.pem.bak");
            let key = w.read("client.key");
            w.client(&forge::client("client"));
            w.write_key("client.key", key);
            w.client_files()
        },
    },
    Scenario {
        name: "issuing CA left out, whose name does not call it one",
        source: "https://github.com/mitmproxy/mitmproxy/issues/3937",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| without_its_issuer(w, "Acme Corp Root", "Acme Corp TLS CA 2024"),
    },
    Scenario {
        name: "issuing CA left out, names of one word",
        source: "https://github.com/mitmproxy/mitmproxy/issues/7737",
        expect: Root(&[Cause::ChainMissingIntermediate]),
        build: |w| without_its_issuer(w, "RootCA", "IntermediateCA"),
    },
    Scenario {
        name: "CA of another house, called a root too",
        source: "https://github.com/rustls/rustls-native-certs/issues/54",
        expect: Root(&[Cause::ClientCaNotTrusted]),
        build: |w| {
            let other = Authority::root(forge::authority("Globex TLS Root"));
            w.write("root.pem", other.pem());
            let stranger = Authority::root(forge::authority("Initech TLS CA"));
            w.client_is(&stranger.issue(&forge::client("client")), "");
            w.client_files().shows(VERIFY_CLIENT, "error 20")
        },
    },
    Scenario {
        name: "address outside the mail domain that the CA is permitted",
        source: "https://github.com/briansmith/webpki/issues/173",
        expect: Root(&[Cause::NameConstraintsViolated]),
        build: |w| bound_to_a_mail_domain(w, "ada@example.net").shows(VERIFY_CLIENT, "error 47"),
    },
    Scenario {
        name: "address in the mail domain that the CA is permitted",
        source: "https://github.com/rustls/webpki/issues/445",
        expect: Risk(Cause::NameConstraintsUnsupported),
        build: |w| bound_to_a_mail_domain(w, "ada@example.org").shows(VERIFY_CLIENT, ".pem: OK"),
    },
    Scenario {
        name: "rule writes the DN as Windows does (S for ST)",
        source: "https://github.com/nginx/docker-nginx/issues/565",
        expect: Root(&[Cause::DnFormatMismatch]),
        build: |w| {
            of_windows(w);
            w.client_files()
                .with("--allow")
                .with_one("C=DE, S=Bayern, CN=worker")
        },
    },
    Scenario {
        name: "rule of Windows names another state",
        source: "https://github.com/nginx/docker-nginx/issues/565",
        expect: Root(&[Cause::IdentityNotAllowed]),
        build: |w| {
            of_windows(w);
            w.client_files()
                .with("--allow")
                .with_one("C=DE, S=Hessen, CN=worker")
        },
    },
    Scenario {
        name: "nginx names the clients' CA and never asks",
        source: "https://github.com/nginx-proxy/nginx-proxy/issues/278",
        expect: Root(&[Cause::ClientCertNotRequested]),
        build: |w| {
            w.write("nginx.conf", "server {\n  listen 443 ssl;\n  ssl_certificate s.pem;\n  ssl_client_certificate ca.pem;\n}\n");
            w.ask()
                .with("--cert client.pem --key client.key --ca root.pem --file nginx.conf")
        },
    },
    Scenario {
        name: "nginx asks (optional) and lets everybody in, its configuration at hand",
        source: "https://github.com/UKHomeOffice/docker-nginx-proxy/issues/15",
        expect: Root(&[Cause::ClientAuthNotEnforced]),
        build: |w| {
            let text = format!("{NGINX_OPTIONAL}  location / {{ proxy_pass http://app; }}\n}}\n");
            configured(w, "nginx.conf", &text)
        },
    },
    Scenario {
        name: "nginx asks (optional) and turns away by a rule of its own",
        source: "https://github.com/UKHomeOffice/docker-nginx-proxy/issues/15",
        expect: Healthy,
        build: |w| {
            let text = format!(
                "{NGINX_OPTIONAL}  location / {{\n    if ($ssl_client_verify != SUCCESS) {{ return 403; }}\n    proxy_pass http://app;\n  }}\n}}\n"
            );
            configured(w, "nginx.conf", &text)
        },
    },
    Scenario {
        name: "Apache counts the root, and is not told how deep chains are",
        source: "https://httpd.apache.org/docs/2.4/mod/mod_ssl.html#sslverifydepth",
        expect: Root(&[Cause::VerifyDepthTooSmall]),
        build: |w| {
            let text = "<VirtualHost *:443>\nSSLEngine on\nSSLCACertificateFile root.pem\nSSLVerifyClient require\n</VirtualHost>\n";
            w.write("site.conf", text);
            w.client_files().with("--file site.conf")
        },
    },
    Scenario {
        name: "Apache asks below one path, its configuration at hand",
        source: "https://github.com/m-click/requests_pkcs12/issues/17",
        expect: Root(&[Cause::PostHandshakeAuthUnavailable]),
        build: |w| {
            let text = "<VirtualHost *:443>\nSSLEngine on\n<Location /in>\nSSLVerifyClient require\n</Location>\n</VirtualHost>\n";
            configured(w, "site.conf", text)
        },
    },
    Scenario {
        name: "Apache asks below one path, and ends at TLS 1.2",
        source: "https://github.com/curl/curl/pull/3027",
        expect: Healthy,
        build: |w| {
            let text = "<VirtualHost *:443>\nSSLEngine on\nSSLProtocol TLSv1.2\n<Location /in>\nSSLVerifyClient require\n</Location>\n</VirtualHost>\n";
            configured(w, "site.conf", text)
        },
    },
    Scenario {
        name: "HAProxy passes over every error of verification",
        source: "https://github.com/haproxy/haproxy/issues/1201",
        expect: Root(&[Cause::ClientAuthNotEnforced]),
        build: |w| {
            let text = "frontend fe\n  bind :443 ssl crt s.pem ca-file ca.pem verify required ca-ignore-err all crt-ignore-err all\n";
            configured(w, "haproxy.cfg", text)
        },
    },
    Scenario {
        name: "Mosquitto has a CA and requires no certificate",
        source: "https://github.com/thomasnordquist/MQTT-Explorer/issues/738",
        expect: Root(&[Cause::ClientCertNotRequested]),
        build: |w| {
            let text = "listener 8883\ncafile ca.crt\ncertfile s.crt\nkeyfile s.key\nrequire_certificate false\n";
            configured(w, "mosquitto.conf", text)
        },
    },
    Scenario {
        name: "Mosquitto requires certificates",
        source: "https://github.com/home-assistant/addons/pull/2830",
        expect: Healthy,
        build: |w| {
            let text = "listener 8883\ncafile ca.crt\ncertfile s.crt\nkeyfile s.key\nrequire_certificate true\n";
            configured(w, "mosquitto.conf", text)
        },
    },
];
