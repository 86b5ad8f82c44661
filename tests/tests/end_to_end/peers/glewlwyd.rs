//! An identity provider of others: Glewlwyd, with a second factor, and a browser that is `curl` with its cookies.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use postern_tests::world::{Call, Mishap, Running};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use totp_rs::Builder;

use super::{free_tcp_port, programs};

/// The provider, with one client `postern` and whoever was added.
pub(crate) struct Glewlwyd {
    dir: tempfile::TempDir,
    curl: PathBuf,
    sqlite: PathBuf,
    url: String,
    /// The one port to which it leads browsers back.
    pub(crate) port: u16,
    _running: Running,
}

/// Who is at the provider, or sits before a browser.
pub(crate) struct Browser<'a> {
    provider: &'a Glewlwyd,
    jar: PathBuf,
}

impl Glewlwyd {
    /// Starts it, unless it is missing.
    pub(crate) async fn start(test: &str) -> Result<Option<Self>, Mishap> {
        let Some([glewlwyd, curl, sqlite]) = programs(test, ["glewlwyd", "curl", "sqlite3"]) else {
            return Ok(None);
        };
        let dir = tempfile::tempdir()?;
        let place = |name: &str| dir.path().join(name);
        let (port, landing) = (free_tcp_port().await?.port(), free_tcp_port().await?.port());
        let url = format!("https://127.0.0.1:{port}");
        let tls = KeyPair::generate().unwrap();
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().self_signed(&tls).unwrap();
        std::fs::write(place("tls.pem"), pem("CERTIFICATE", certificate.der()))?;
        std::fs::write(place("tls.key"), pem("PRIVATE KEY", &tls.serialize_der()))?;
        let made = Call::new(&sqlite).arg(place("state")).input(std::fs::read(SCHEMA)?).finish().await?;
        made.expect_code(0)?;
        let config =
            CONFIG.replace("DIR", &dir.path().display().to_string()).replace("PORT", &port.to_string());
        std::fs::write(place("glewlwyd.conf"), config)?;
        let running = Call::new(glewlwyd)
            .arg(format!("--config-file={}", place("glewlwyd.conf").display()))
            .start("glewlwyd")?;
        running.line("that it listens", |line| line.text.contains("started on port")).await?;
        let provider = Self { dir, curl, sqlite, url, port: landing, _running: running };
        provider.furnish().await?;
        Ok(Some(provider))
    }

    /// What `sso.toml` says of it. Its ID tokens name no time that could be used: it has everything proved anew instead.
    pub(crate) fn settings(&self, more: &str) -> String {
        format!(
            "[[provider]]\nname = \"corp\"\nissuer = \"{}\"\nclient_id = \"postern\"\nclient_secret_file = \"corp.secret\"\n\
             ca_file = \"{}\"\nloopback_port = {}\nalways_prompt = true\nsecond_factor = {{ amr = [\"otp\"] }}\n{more}",
            self.issuer(),
            self.dir.path().join("tls.pem").display(),
            self.port
        )
    }

    /// Its issuer identifier.
    pub(crate) fn issuer(&self) -> String {
        format!("{}/api/oidc", self.url)
    }

    /// Adds somebody with a password and an authenticator app; returns who that is in ID tokens, once they have signed in there.
    pub(crate) async fn add(&self, name: &str) -> Result<(), Mishap> {
        let admin = self.admin().await?;
        let person = json!({
            "username": name, "name": name, "email": "", "enabled": true, "password": PASSWORD, "scope": ["openid"],
        });
        admin.ask("POST", "/user/", &person).await?;
        // An app that was last used long ago.
        let app = format!(
            "INSERT INTO gs_otp (gso_mod_name, gso_last_used, gso_username, gso_otp_type, gso_secret, gso_totp_time_step_size) \
             VALUES ('otp', 0, '{name}', 1, '{}', 30)",
            data_encoding::BASE32.encode(SECRET)
        );
        Call::new(&self.sqlite)
            .arg(self.dir.path().join("state"))
            .arg(app)
            .finish()
            .await?
            .expect_code(0)
            .map(drop)
    }

    /// Lets everybody in with a password alone, or with a code as well.
    pub(crate) async fn demand_code(&self, code: bool) -> Result<(), Mishap> {
        let (scheme, required) =
            if code { (json!({ "2": [otp_scheme()] }), json!({ "2": 1 })) } else { (json!({}), json!({})) };
        let scope = json!({
            "display_name": "OpenID", "description": "who somebody is", "password_required": true,
            "password_max_age": 0, "scheme": scheme, "scheme_required": required,
        });
        self.admin().await?.ask("PUT", "/scope/openid", &scope).await.map(drop)
    }

    /// A browser that nobody has signed in with yet.
    pub(crate) fn browser(&self, name: &str) -> Browser<'_> {
        Browser { provider: self, jar: self.dir.path().join(format!("{name}.cookies")) }
    }

    async fn admin(&self) -> Result<Browser<'_>, Mishap> {
        let admin = self.browser("admin");
        admin.ask("POST", "/auth/", &json!({ "username": "admin", "password": "password" })).await?;
        Ok(admin)
    }

    async fn furnish(&self) -> Result<(), Mishap> {
        let admin = self.admin().await?;
        let key = full_key();
        let plugin = json!({
            "iss": self.issuer(), "jwt-type": "ecdsa", "jwt-key-size": "256", "key": pem("PRIVATE KEY", &key.serialize_der()),
            "cert": pem("PUBLIC KEY", &key.subject_public_key_info()), "access-token-duration": 3600, "refresh-token-duration": 3600,
            "code-duration": 600, "refresh-token-rolling": false, "allow-non-oidc": false, "subject-type": "public",
            "auth-type-code-enabled": true, "auth-type-device-enabled": true, "device-authorization-expiration": 600,
            "device-authorization-interval": 1, "pkce-allowed": true, "pkce-required": true,
            "pkce-method-plain-allowed": false, "jwks-show": true, "oauth-as-iss-id": true,
        });
        let module = |module: &str, name: &str, parameters: Value| json!({ "module": module, "name": name, "display_name": name, "parameters": parameters });
        admin.ask("POST", "/mod/plugin/", &module("oidc", "oidc", plugin)).await?;
        let otp = json!({
            "issuer": "corp", "otp-length": 6, "secret-minimum-size": 16, "hotp-allow": false, "hotp-window": 0,
            "totp-allow": true, "totp-window": 1, "totp-start-offset": 0,
        });
        let mut scheme = module("otp", "otp", otp);
        scheme["expiration"] = json!(600);
        scheme["max_use"] = json!(0);
        scheme["allow_user_register"] = json!(true);
        admin.ask("POST", "/mod/scheme/", &scheme).await?;
        let client = json!({
            "client_id": "postern", "name": "Postern", "confidential": true, "enabled": true,
            "client_secret": CLIENT_SECRET, "password": CLIENT_SECRET,
            "redirect_uri": [format!("http://127.0.0.1:{}/", self.port)],
            "authorization_type": ["code", "device_authorization"],
            "token_endpoint_auth_method": ["client_secret_basic"],
        });
        admin.ask("POST", "/client/", &client).await?;
        self.demand_code(false).await
    }
}

impl Browser<'_> {
    /// Signs in at the provider with the password, and with a code where `code` says so; lets `postern` know who that is.
    pub(crate) async fn sign_in(&self, name: &str, code: bool) -> Result<(), Mishap> {
        self.ask("POST", "/auth/", &json!({ "username": name, "password": PASSWORD })).await?;
        if code {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let app = Builder::new().with_secret(SECRET.to_vec()).build().unwrap();
            let mut proof = otp_scheme();
            proof["username"] = json!(name);
            proof["value"] = json!({ "value": app.generate(now).to_string() });
            self.ask("POST", "/auth/", &proof).await?;
        }
        self.ask("PUT", "/auth/grant/postern", &json!({ "scope": "openid" })).await.map(drop)
    }

    /// Goes where `postern` sends a browser, as somebody who has signed in there, and says where it is led.
    pub(crate) async fn led(&self, url: &str) -> Result<String, Mishap> {
        // What the page behind the address adds when the person has said yes.
        let call = self.curl().args(["--output", "/dev/null", "--write-out", "%{redirect_url}"]);
        Ok(call.arg(format!("{url}&g_continue")).finish().await?.expect_code(0)?.out)
    }

    /// Goes there, and on to where it is led; returns the last page.
    pub(crate) async fn visit(&self, url: &str) -> Result<String, Mishap> {
        let led = self.led(url).await?;
        self.open(&led).await
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) -> Result<String, Mishap> {
        Ok(self.curl().arg(url).finish().await?.expect_code(0)?.out)
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<String, Mishap> {
        let call = self.curl().args(["--fail-with-body", "--request", method, "--json", &body.to_string()]);
        Ok(call.arg(format!("{}/api{path}", self.provider.url)).finish().await?.expect_code(0)?.out)
    }

    fn curl(&self) -> Call {
        let authority = self.provider.dir.path().join("tls.pem");
        let call =
            Call::new(&self.provider.curl).args(["--silent", "--show-error", "--cacert"]).arg(authority);
        call.arg("--cookie").arg(&self.jar).arg("--cookie-jar").arg(&self.jar)
    }
}

/// Puts what the hub has to know of a provider into its state directory.
pub(crate) fn introduce(state: &Path, settings: &str) -> Result<(), Mishap> {
    use std::os::unix::fs::PermissionsExt as _;
    let secret = state.join("corp.secret");
    std::fs::write(&secret, CLIENT_SECRET)?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
    std::fs::write(state.join("sso.toml"), settings)?;
    Ok(())
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn otp_scheme() -> Value {
    json!({ "scheme_name": "otp", "scheme_type": "otp" })
}

/// A key of which both coordinates have all of their 32 bytes: Glewlwyd leaves leading zeros out of its JWKS, against RFC 7518,
/// section 6.2.1.2, and one key in 128 could not be read.
fn full_key() -> KeyPair {
    loop {
        let key = KeyPair::generate().unwrap();
        let spki = key.subject_public_key_info();
        let (x, y) = spki[spki.len() - 64..].split_at(32);
        if x[0] != 0 && y[0] != 0 {
            return key;
        }
    }
}

const PASSWORD: &str = "a password at the provider";
const CLIENT_SECRET: &str = "the-secret-of-the-hub";
const SECRET: &[u8] = b"twenty secret bytes.";
const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const CONFIG: &str = r#"
port=PORT
bind_address="127.0.0.1"
external_url="https://127.0.0.1:PORT"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="INFO"
cookie_secure=0
session_expiration=3600
session_key="GLEWLWYD2_SESSION_ID"
admin_session_authentication="cookie"
profile_session_authentication="cookie"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
use_secure_connection=true
secure_connection_key_file="DIR/tls.key"
secure_connection_pem_file="DIR/tls.pem"
hash_algorithm="SHA512"
database = { type = "sqlite3"; path = "DIR/state"; };
"#;
