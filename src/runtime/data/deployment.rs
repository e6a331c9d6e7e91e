//! What a deployment is for as long as it lives.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::hex;

use super::{DataError, DataFolder, LAYOUT_VERSION, read, write_whole};

/// What must be the same at every start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Version of the folder's layout.
    pub layout: u32,
    /// Buckets of users.
    pub buckets: u16,
    /// Where users, rooms and shows live: 32 hexadecimal digits.
    pub placement_key: String,
    /// Signs retry tickets: 64 hexadecimal digits.
    pub ticket_key: String,
}

impl Deployment {
    /// One that begins.
    #[must_use]
    pub fn new(buckets: u16, placement_key: &[u8; 16], ticket_key: &[u8; 32]) -> Deployment {
        let (placement_key, ticket_key) = (hex::encode(placement_key), hex::encode(ticket_key));
        Deployment { layout: LAYOUT_VERSION, buckets, placement_key, ticket_key }
    }
}

/// The name of its file.
pub(super) const NAME: &str = "deployment.json";

impl DataFolder {
    /// The deployment of this folder, if one began here.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn deployment(&self) -> Result<Option<Deployment>, DataError> {
        stored(self.root())
    }

    /// A deployment begins here.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn begin_deployment(&self, fresh: &Deployment) -> Result<(), DataError> {
        let text = serde_json::to_vec_pretty(fresh).expect("a deployment is made of text");
        write_whole(&self.deployment_file(), &text)
    }

    /// Where the deployment's secrets are.
    #[must_use]
    pub fn deployment_file(&self) -> PathBuf {
        self.root().join(NAME)
    }
}

/// The deployment in a folder, if there is one.
pub(super) fn stored(root: &Path) -> Result<Option<Deployment>, DataError> {
    let path = root.join(NAME);
    if !path.exists() {
        return Ok(None);
    }
    let malformed = |what: String| DataError::Malformed { path: path.clone(), what };
    let deployment: Deployment = serde_json::from_slice(&read(&path)?)
        .map_err(|error| malformed(format!("{error}; restore it from a backup")))?;
    if deployment.layout != LAYOUT_VERSION {
        let (has, reads) = (deployment.layout, LAYOUT_VERSION);
        return Err(malformed(format!(
            "the folder has layout {has} and this program reads layout {reads}: use the program \
             that wrote it"
        )));
    }
    Ok(Some(deployment))
}
