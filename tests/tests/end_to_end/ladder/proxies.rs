//! Networks that let nothing pass but what a proxy carries.

use std::path::Path;

use postern_tests::world::probe::http_page;
use postern_tests::world::site::MACHINE_ADDRESS;
use postern_tests::world::{Done, Running};

use super::opener::Opener;
use super::*;

impl Walled {
    /// Nothing leads to the hub but what comes from the machine's side of the wire, where a proxy stands.
    async fn only_proxy(&self) -> Outcome {
        let port = self.world.hub.address().port();
        wall(&format!("iif lo meta l4proto udp drop\niif lo tcp dport {port} reject with tcp reset")).await
    }

    fn configure(&self, url: &str, password: Option<&str>) -> Outcome {
        let file = self.world.dir().join("proxy.password");
        let login = password.map(|password| {
            std::fs::write(&file, format!("{password}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&file, mode).unwrap();
            format!("user = \"press-7\"\npassword_file = {file:?}\n")
        });
        self.world.device.configure(&format!("[proxy]\nurl = \"{url}\"\n{}", login.unwrap_or_default()))
    }

    /// Enrols and runs the device behind the proxy, signs anna in there, and has her load a page.
    async fn use_it(&mut self, url: &str, password: Option<&str>) -> Result<Person, Mishap> {
        self.configure(&format!("http://{url}"), password)?;
        self.world.enroll().await?;
        self.world.device.run().await?;
        self.world.settle().await?;
        self.until_path("tls").await?;
        let anna = self.world.stranger("anna")?;
        let login = password.map(|password| format!("press-7:{password}@")).unwrap_or_default();
        let proxy = format!("http://{login}{url}");
        sign_in(self, &anna, &proxy).await?.expect_code(0)?;
        self.world.settle().await?;
        let session =
            anna.call(["connect", "press-7", "web", "--json"]).env("HTTPS_PROXY", &proxy).start("anna")?;
        let line = session.line("a URL", |line| line.text.contains("://")).await?;
        let near = postern_tests::world::Near::announced(&line.text).unwrap();
        assert_eq!(http_page(near, "/machine-info").await?.status, 200);
        assert_eq!(passed().await?, 0);
        Ok(anna)
    }
}

async fn sign_in(walled: &Walled, anna: &Person, proxy: &str) -> Result<Done, Mishap> {
    let code = walled.world.hub.invitation_code("anna").await?;
    let password = "correct horse battery staple\n";
    let login = anna.call(["login", &code, "--password-stdin"]).env("HTTPS_PROXY", proxy).input(password);
    login.finish().await
}

/// A real proxy on the machine's side of the wire.
async fn tinyproxy(walled: &Walled, login: Option<&str>) -> Result<Running, Mishap> {
    let config = walled.world.dir().join("tinyproxy.conf");
    let login = login.map(|login| format!("BasicAuth {login}\n")).unwrap_or_default();
    let text =
        format!("Port 8888\nListen {MACHINE_ADDRESS}\nTimeout 600\nMaxClients 32\nLogLevel Connect\n{login}");
    std::fs::write(&config, text).map_err(Mishap::io("writing a configuration"))?;
    let running = walled.site.machine("tinyproxy").args(["-d", "-c"]).arg(&config).start("tinyproxy")?;
    ready(8888).await?;
    Ok(running)
}

/// Waits until something listens on the machine's side.
async fn ready(port: u16) -> Outcome {
    let began = Instant::now();
    while tokio::net::TcpStream::connect((MACHINE_ADDRESS, port)).await.is_err() {
        assert!(began.elapsed() < GENEROUS, "no proxy listens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

const HTTP: &str = "192.168.77.10:8888";

#[tokio::test]
async fn all_goes_through_a_real_http_proxy_where_nothing_else_leads_out() -> Outcome {
    let name = "all_goes_through_a_real_http_proxy_where_nothing_else_leads_out";
    if programs(name, ["tinyproxy"]).is_none() {
        return Ok(());
    }
    let Some(mut walled) = Walled::start(name).await? else { return Ok(()) };
    let _proxy = tinyproxy(&walled, None).await?;
    walled.only_proxy().await?;
    let anna = walled.use_it(HTTP, None).await?;
    // Without the proxy there is no way, and each is named.
    let alone = anna.call(["login", "--password-stdin"]).input("x\n").finish().await?;
    assert!(alone.err.contains("TLS: connection refused") && !alone.err.contains("proxy"), "{}", alone.err);
    // When the wall is gone, so is the way through the proxy.
    wall("").await?;
    walled.until_path("direct").await.map(drop)
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_gets_the_right_one_and_names_itself_when_it_is_wrong() -> Outcome {
    let name = "a_proxy_that_wants_a_password_gets_the_right_one_and_names_itself_when_it_is_wrong";
    if programs(name, ["tinyproxy"]).is_none() {
        return Ok(());
    }
    let Some(mut walled) = Walled::start(name).await? else { return Ok(()) };
    let _proxy = tinyproxy(&walled, Some("press-7 sesame")).await?;
    walled.only_proxy().await?;
    let code = walled.world.hub.enrolment_code("press-7").await?;
    for (password, says) in [
        (Some("guess"), "`http://192.168.77.10:8888`: 401: it does not accept the user name and password"),
        (
            None,
            "`http://192.168.77.10:8888`: 407: it wants a user name and password (Basic), and none is configured",
        ),
    ] {
        walled.configure("http://192.168.77.10:8888", password)?;
        let began = Instant::now();
        let refused = walled.world.device.enroll(&code).await?.expect_code(8)?;
        assert!(refused.err.contains(says) && !refused.err.contains("guess"), "{}", refused.err);
        assert!(refused.err.contains("TLS: connection refused; proxy: "), "{}", refused.err);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
    let anna = walled.world.stranger("anna")?;
    let refused = sign_in(&walled, &anna, "http://press-7:guess@192.168.77.10:8888").await?;
    assert!(
        refused.err.contains("401: it does not accept") && !refused.err.contains("guess"),
        "{}",
        refused.err
    );
    let wrong = sign_in(&walled, &anna, "https://192.168.77.10:8888").await?.expect_code(2)?;
    assert!(wrong.err.contains("the environment variable `HTTPS_PROXY` names no proxy"), "{}", wrong.err);
    walled.use_it(HTTP, Some("sesame")).await.map(drop)
}

#[tokio::test]
async fn a_real_proxy_that_demands_a_digest_is_answered() -> Outcome {
    let name = "a_real_proxy_that_demands_a_digest_is_answered";
    let Some([squid]) = programs(name, ["squid"]) else { return Ok(()) };
    let helper = Path::new("/usr/lib/squid/digest_file_auth");
    if !helper.is_file() {
        missing(name, "squid's helper for Digest");
        return Ok(());
    }
    let Some(mut walled) = Walled::start(name).await? else { return Ok(()) };
    // It gives up root, and must still find its files.
    let dir = tempfile::tempdir().map_err(Mishap::io("making a directory"))?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).map_err(Mishap::io("opening a directory"))?;
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).map(|()| path).map_err(Mishap::io("writing a file"))
    };
    let users = write("users", "press-7:sesame\n")?;
    let config = write(
        "squid.conf",
        &format!(
            "http_port {HTTP}\npid_filename none\ncache deny all\naccess_log none\ncache_log /dev/null\n\
             cache_effective_user proxy\nshutdown_lifetime 0 seconds\ncoredump_dir {}\n\
             auth_param digest program {} {}\nauth_param digest children 1\nauth_param digest realm factory\n\
             acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
            dir.path().display(),
            helper.display(),
            users.display()
        ),
    )?;
    // A name of its own, for its shared memory.
    let service = format!("postern{}", std::process::id());
    let squid = walled.site.machine(&squid).args(["-N", "-n", &service, "-f"]).arg(config);
    let mut proxy = squid.start("squid")?;
    ready(8888).await?;
    walled.only_proxy().await?;
    let code = walled.world.hub.enrolment_code("press-7").await?;
    walled.configure("http://192.168.77.10:8888", Some("guess"))?;
    let refused = walled.world.device.enroll(&code).await?.expect_code(8)?;
    assert!(refused.err.contains("407: it does not accept the user name and password"), "{}", refused.err);
    walled.use_it(HTTP, Some("sesame")).await?;
    // In order, so that it takes its shared memory away.
    proxy.stop().await.map(drop)
}

#[tokio::test]
async fn a_real_socks_proxy_leads_out_with_the_right_password_and_not_with_another() -> Outcome {
    let name = "a_real_socks_proxy_leads_out_with_the_right_password_and_not_with_another";
    let Some([microsocks]) = programs(name, ["microsocks"]) else { return Ok(()) };
    let Some(mut walled) = Walled::start(name).await? else { return Ok(()) };
    let login = ["-i", MACHINE_ADDRESS, "-p", "1080", "-u", "press-7", "-P", "sesame"];
    let _proxy = walled.site.machine(&microsocks).args(login).start("microsocks")?;
    ready(1080).await?;
    walled.only_proxy().await?;
    let code = walled.world.hub.enrolment_code("press-7").await?;
    walled.configure("socks5://192.168.77.10:1080", Some("guess"))?;
    let refused = walled.world.device.enroll(&code).await?.expect_code(8)?;
    let says = "proxy: `socks5://192.168.77.10:1080`: it does not accept the user name and password";
    assert!(refused.err.contains(says), "{}", refused.err);
    walled.configure("socks5://192.168.77.10:1080", Some("sesame"))?;
    walled.world.device.enroll(&code).await?.expect_code(0)?;
    walled.world.device.run().await?;
    walled.world.settle().await?;
    walled.until_path("tls").await?;
    let anna = walled.world.stranger("anna")?;
    sign_in(&walled, &anna, "socks5h://press-7:sesame@192.168.77.10:1080").await?.expect_code(0)?;
    assert_eq!(passed().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_box_that_opens_tls_is_named_once_and_reads_and_changes_nothing() -> Outcome {
    let name = "a_box_that_opens_tls_is_named_once_and_reads_and_changes_nothing";
    let Some(mut walled) = Walled::start(name).await? else { return Ok(()) };
    // It listens on loopback, where the wall lets its own connections pass by their address.
    let opener = Opener::start().await?;
    let port = walled.world.hub.address().port();
    wall(&format!(
        "iif lo meta l4proto udp drop\niif lo ip saddr != 127.0.0.99 tcp dport {port} reject with tcp reset"
    ))
    .await?;
    let anna = walled.use_it(&opener.at.to_string(), None).await?;
    let status = walled.world.device.status().await?;
    let opened = status["tls_opened"].as_array().unwrap();
    assert_eq!(opened.len(), 1, "{status:#}");
    assert_eq!(opened[0]["certificate"], opener.certificate.to_string());
    assert_eq!(opened[0]["rung"], "proxy");
    let text = walled.world.device.call(["status"]).finish().await?.expect_code(0)?.out;
    assert!(text.contains("is opened by somebody in between (certificate "), "{text}");
    assert_eq!(walled.world.device.log().matches("somebody opens TLS").count(), 1);
    // The engineer is told once in this network; it was said when she signed in.
    let proxy = format!("http://{}", opener.at);
    let again = anna.call(["devices"]).env("HTTPS_PROXY", &proxy).finish().await?.expect_code(0)?;
    assert!(!again.err.contains("in between"), "{}", again.err);
    forget(&anna);
    let told = anna.call(["devices"]).env("HTTPS_PROXY", &proxy).finish().await?.expect_code(0)?;
    assert!(told.err.contains("is opened by somebody in between"), "{}", told.err);
    let seen = opener.seen();
    assert!(seen.len() > 20_000, "{} bytes were seen", seen.len());
    for word in ["correct horse", "press-7", "anna", "machine-info", "HTTP/1.1"] {
        assert!(!seen.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "`{word}` was readable");
    }
    // Whatever it changes, it only denies.
    opener.tamper(true);
    let denied = anna.call(["devices", "--json"]).env("HTTPS_PROXY", &proxy).finish().await?;
    assert!(
        !denied.out.contains("\"online\":true") || denied.err.contains("hub"),
        "{}{}",
        denied.out,
        denied.err
    );
    let refused =
        anna.call(["login", "--password-stdin"]).env("HTTPS_PROXY", &proxy).input("x\n").finish().await?;
    assert!(refused.err.contains("cannot be reached"), "{}", refused.err);
    opener.tamper(false);
    walled.world.settle().await
}
