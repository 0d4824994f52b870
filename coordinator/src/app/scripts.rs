//! Scripts: list, show, download, create, replace, patch, delete.

use super::catalog::{CatalogOutcome, CatalogWrite};
use super::{App, AppError, TRIES, Written, off_thread};
use crate::domain::draft::{ScriptDraft, document_of};
use crate::domain::{Decision, Patch, Rejection, same_name, scripts};
use bytes::Bytes;
use events::Actor;
use events::catalog::{Catalog, Entry, ScriptVersion};
use events::log::BundleError;
use schemas::bundle::Folder;
use schemas::{Digest, Name};
use std::sync::Arc;

/// A script with its files.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub entry: Entry<ScriptVersion>,
    pub folder: Arc<Folder>,
}

/// A script's folder as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedScript {
    pub digest: Digest,
    /// Tar, compressed with zstd.
    pub bytes: Bytes,
    pub folder: Arc<Folder>,
}

impl Script {
    /// The content of the file that runs, where it is text.
    pub fn content(&self) -> Option<&str> {
        let file = self
            .folder
            .get(self.entry.current.document.script_file.as_str())?;
        std::str::from_utf8(&file.bytes).ok()
    }
}

impl App {
    /// All scripts, sorted by name.
    pub fn scripts(&self) -> Vec<Entry<ScriptVersion>> {
        let state = self.projections().catalog();
        state.catalog.scripts.values().cloned().collect()
    }

    pub async fn script(&self, name: &Name) -> Result<Script, AppError> {
        let state = self.projections().catalog();
        let entry = scripts::find(&state.catalog, name)?.clone();
        let folder = self.folder(&entry.current.digest).await?;
        Ok(Script { entry, folder })
    }

    /// The stored folder: the present one, or the one of an older version by its digest.
    pub async fn script_bundle(
        &self,
        name: &Name,
        digest: Option<&Digest>,
    ) -> Result<PackedScript, AppError> {
        let Some(digest) = digest else {
            let state = self.projections().catalog();
            let digest = scripts::find(&state.catalog, name)?.current.digest;
            return self.packed(digest).await;
        };
        let unknown = || Rejection::VersionNotFound {
            script: name.clone(),
            digest: *digest,
        };
        let bytes = match self.0.broker.bundles.get(digest).await {
            Err(BundleError::Missing(_)) => return Err(unknown().into()),
            stored => stored?,
        };
        let packed = self.unpacked(*digest, bytes).await?;
        // Bundles are found by content alone: this one may be another script's.
        if document_of(&packed.folder)?.name != *name {
            return Err(unknown().into());
        }
        Ok(packed)
    }

    /// `folder` holds `script.json`; `Folder::script` makes one from a document and files.
    pub async fn create_script(
        &self,
        actor: &Actor,
        folder: Folder,
    ) -> Result<Written<Script>, AppError> {
        let draft = off_thread(move || ScriptDraft::of(folder)).await??;
        let written = self.write_script(actor, draft, scripts::create).await?;
        written.ok_or(AppError::Contended { tries: 1 })
    }

    /// Creates or replaces the whole script.
    pub async fn put_script(
        &self,
        actor: &Actor,
        name: &Name,
        folder: Folder,
    ) -> Result<Written<Script>, AppError> {
        let draft = off_thread(move || ScriptDraft::of(folder)).await??;
        same_name(name, &draft.document.name)?;
        let written = self.write_script(actor, draft, scripts::put).await?;
        written.ok_or(AppError::Contended { tries: 1 })
    }

    /// Changes fields of the document; `script_content` is the new content of the file that runs.
    pub async fn patch_script(
        &self,
        actor: &Actor,
        name: &Name,
        patch: Patch,
    ) -> Result<Written<Script>, AppError> {
        for _ in 0..TRIES {
            let Script { entry, folder } = self.script(name).await?;
            let base = entry.current.digest;
            let (document, patch) = (entry.current.document, patch.clone());
            let patched = move || ScriptDraft::patched(&document, Folder::clone(&folder), patch);
            let draft = off_thread(patched).await??;
            let rule = move |catalog: &_, draft: &_| scripts::replace(catalog, &base, draft);
            if let Some(written) = self.write_script(actor, draft, rule).await? {
                return Ok(written);
            }
        }
        Err(AppError::Contended { tries: TRIES })
    }

    pub async fn delete_script(&self, actor: &Actor, name: &Name) -> Result<(), AppError> {
        let name = name.clone();
        let write = CatalogWrite::new(move |catalog| scripts::delete(catalog, &name));
        self.change_catalog(actor, write).await.map(drop)
    }

    /// `None` when the draft was made from a version that is not the present one any more.
    async fn write_script(
        &self,
        actor: &Actor,
        draft: ScriptDraft,
        rule: impl Fn(&Catalog, &ScriptDraft) -> Result<Decision, Rejection> + Send + Sync + 'static,
    ) -> Result<Option<Written<Script>>, AppError> {
        let draft = Arc::new(draft);
        let decided = draft.clone();
        let write = CatalogWrite {
            bundle: Some(draft.packed.clone()),
            ..CatalogWrite::new(move |catalog| rule(catalog, &decided))
        };
        let outcome = self.change_catalog(actor, write).await?;
        let CatalogOutcome::Done { change, after } = outcome else {
            return Ok(None);
        };
        let folder = Arc::new(draft.folder.clone());
        let weight = folder.bytes();
        self.0.folders.put(draft.digest, folder.clone(), weight);
        let entry = scripts::find(&after, &draft.document.name)?.clone();
        let now = Script { entry, folder };
        Ok(Some(Written { change, now }))
    }

    /// The files of a stored bundle.
    pub(super) async fn folder(&self, digest: &Digest) -> Result<Arc<Folder>, AppError> {
        if let Some(folder) = self.0.folders.get(digest) {
            return Ok(folder);
        }
        Ok(self.packed(*digest).await?.folder)
    }

    async fn packed(&self, digest: Digest) -> Result<PackedScript, AppError> {
        let bytes = self.0.broker.bundles.get(&digest).await?;
        self.unpacked(digest, bytes).await
    }

    async fn unpacked(&self, digest: Digest, bytes: Bytes) -> Result<PackedScript, AppError> {
        let folder = match self.0.folders.get(&digest) {
            Some(folder) => folder,
            None => {
                let packed = bytes.clone();
                let unpacked = off_thread(move || Folder::unpack(&packed, None)).await?;
                let folder = Arc::new(unpacked.map_err(AppError::internal)?);
                self.0.folders.put(digest, folder.clone(), folder.bytes());
                folder
            }
        };
        Ok(PackedScript {
            digest,
            bytes,
            folder,
        })
    }
}
