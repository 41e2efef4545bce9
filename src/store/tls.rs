//! TLS with the system's root certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), or with given authorities.

#![allow(
    unsafe_code,
    reason = "the configuration of a process is never freed, and found by a pointer that a fork can reset"
)]

use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The trust of a connection, if it is not the usual one: certificates of authorities instead of the system's, and a name
/// instead of the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    pub authorities: Vec<CertificateDer<'static>>,
    pub name: Option<String>,
}

/// The source of the roots: the two variables and the given certificates.
type Roots = ([Option<OsString>; 2], Vec<CertificateDer<'static>>);

static SHARED: AtomicPtr<(Roots, Arc<ClientConfig>)> = AtomicPtr::new(std::ptr::null_mut());

/// The configuration for all connections of a process, and of those that the zygote forks: the roots are read once, and a
/// connection resumes the session of an earlier one.
pub fn shared_config(authorities: &[CertificateDer<'static>]) -> io::Result<Arc<ClientConfig>> {
    let variables = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
    let roots = (variables, authorities.to_vec());
    // SAFETY: made by `Box::leak` below and never freed.
    if let Some((of, config)) = unsafe { SHARED.load(Ordering::Acquire).as_ref() }
        && *of == roots
    {
        return Ok(config.clone());
    }
    let config = Arc::new(new_config(authorities)?);
    let made = Box::leak(Box::new((roots, config.clone())));
    SHARED.store(std::ptr::from_mut(made), Ordering::Release);
    Ok(config)
}

/// In a child of the program's own `fork()`: forgets the inherited configuration, since another thread may have held a lock of
/// it.
pub fn forget_after_fork() {
    SHARED.store(std::ptr::null_mut(), Ordering::Release);
}

/// The certificates of a file (PEM). An error names the file.
pub fn certificates_of(path: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|e| io::Error::other(format!("{path}: {e}")))?;
    if found.is_empty() {
        let why = format!("{path}: no certificate (PEM) is in it");
        return Err(io::Error::other(why));
    }
    Ok(found)
}

/// A configuration with these authorities, or with the system's if there are none.
pub fn new_config(authorities: &[CertificateDer<'static>]) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = if authorities.is_empty() {
        rustls_native_certs::load_native_certs().certs
    } else {
        authorities.to_vec()
    };
    let (usable, _) = roots.add_parsable_certificates(found);
    if usable == 0 && !authorities.is_empty() {
        let why = "none of the certificates of authorities can be used";
        return Err(io::Error::other(why));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
