//! The HTTP client below the SDK, whose own client cannot keep a silent connection alive. Like AWS' other tools it uses
//! `HTTPS_PROXY` (except for hosts in `NO_PROXY`), and trusts the certificates of `AWS_CA_BUNDLE`.
//!
//! An invocation is silent for up to 15 minutes, and address translators forget a connection after some 350 s.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector as Connector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector,
    http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::launcher::invocation_queue::CONNECT_TIMEOUT;
use crate::store::tls;

const KEEP_ALIVE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Makes connections, through the proxy that is set for an address.
#[derive(Clone)]
struct Connect {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Service<Uri> for Connect {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, place: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        // Addresses without TLS are services of the machine itself, and need no proxy.
        let is_secure = place.scheme() == Some(&Scheme::HTTPS);
        let proxy = is_secure.then(|| self.proxies.intercept(&place)).flatten();
        Box::pin(async move {
            let Some(proxy) = proxy else {
                return Ok(tcp.call(place).await?);
            };
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(login) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(login.clone());
            }
            Ok(tunnel.call(place).await?)
        })
    }
}

#[derive(Clone)]
struct KeptAlive(Client<HttpsConnector<Connect>, SdkBody>);

impl std::fmt::Debug for KeptAlive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptAlive")
    }
}

/// One pool of connections for all requests; HTTP/1.1, as the service speaks it.
pub fn client() -> io::Result<SharedHttpClient> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_keepalive_interval(Some(PROBE));
    tcp.set_keepalive_retries(Some(PROBES));
    let bundle = std::env::var("AWS_CA_BUNDLE").ok();
    let bundle = bundle.filter(|path| !path.is_empty());
    let bundle = bundle.map(|path| tls::certificates_of(&path)).transpose();
    let bundle = bundle.map_err(|e| io::Error::other(format!("AWS_CA_BUNDLE {e}")))?;
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls::new_config(&bundle.unwrap_or_default())?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(Connect {
            tcp,
            proxies: Arc::new(Matcher::from_env()),
        });
    let client = Client::builder(TokioExecutor::new()).build(https);
    let shared = SharedHttpConnector::new(KeptAlive(client));
    let shared = Arc::new(shared);
    Ok(http_client_fn(move |_, _| (*shared).clone()))
}

impl Connector for KeptAlive {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request
                .try_into_http1x()
                .map_err(|e| ConnectorError::user(e.into()))?;
            let response = client.request(request).await.map_err(|e| {
                // The caller must know whether something may have been sent.
                if e.is_connect() {
                    ConnectorError::other(e.into(), Some(ErrorKind::TransientError))
                } else {
                    ConnectorError::io(e.into())
                }
            })?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}
