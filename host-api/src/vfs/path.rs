//! Resolves a path to a node: names, `..`, symlinks, and the rule that no path leaves the folder it starts in.
//!
//! Only reads the tree.

use super::{FsError, NAME_BYTES, PATH_BYTES, SYMLINKS, node::Kind, node::NodeId, tree::Tree};

/// The target of a path. `node` is `None` if the last name does not exist but its folder does.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) folder: NodeId,
    /// Empty if the path ends in the folder itself (`.`, `a/..`): nothing can be created or removed there.
    pub(crate) name: String,
    pub(crate) node: Option<NodeId>,
    /// The path ended in `/`, so it can only name a folder.
    pub(crate) slash: bool,
}

enum Step {
    Done(Found),
    /// A symlink in this folder; the text is its target plus the rest of the path.
    Link(NodeId, String),
}

pub(crate) fn check_name(name: &str) -> Result<(), FsError> {
    match name {
        "" | "." | ".." => Err(FsError::Invalid),
        _ if name.len() > NAME_BYTES => Err(FsError::NameTooLong),
        _ if name.contains(['\0', '/']) => Err(FsError::Invalid),
        _ => Ok(()),
    }
}

/// Walks from the folder `base` and never above it. `follow`: follow a symlink in the last position.
pub(crate) fn resolve(tree: &Tree, base: NodeId, path: &str, follow: bool) -> Result<Found, FsError> {
    if path.is_empty() {
        return Err(FsError::NoEntry);
    }
    if path.len() > PATH_BYTES {
        return Err(FsError::NameTooLong);
    }
    if path.contains('\0') {
        return Err(FsError::Invalid);
    }
    let mut step = walk(tree, base, base, path, follow)?;
    for _ in 0..SYMLINKS {
        match step {
            Step::Done(found) => return Ok(found),
            Step::Link(folder, rest) => {
                // A chain of links with long tails must not let the text grow without bound.
                if rest.len() > 2 * PATH_BYTES {
                    return Err(FsError::NameTooLong);
                }
                step = walk(tree, base, folder, &rest, follow)?;
            }
        }
    }
    match step {
        Step::Done(found) => Ok(found),
        Step::Link(..) => Err(FsError::Loop),
    }
}

/// Like [`resolve`], for creating, moving or removing the name itself: does not follow a symlink, not even before a
/// trailing slash.
pub(crate) fn resolve_name(tree: &Tree, base: NodeId, path: &str) -> Result<Found, FsError> {
    let plain = path.trim_end_matches('/');
    if plain.is_empty() || plain.len() == path.len() {
        return resolve(tree, base, path, false);
    }
    let found = resolve(tree, base, plain, false)?;
    if found.node.is_some_and(|id| tree.kind(id) != Some(Kind::Folder)) {
        return Err(FsError::NotFolder);
    }
    Ok(Found { slash: true, ..found })
}

fn walk(tree: &Tree, base: NodeId, from: NodeId, path: &str, follow: bool) -> Result<Step, FsError> {
    if path.starts_with('/') {
        return Err(FsError::NotPermitted);
    }
    let slash = path.ends_with('/');
    let mut at = from;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let last = names.peek().is_none();
        match name {
            "." => {}
            ".." if at == base => return Err(FsError::NotPermitted),
            ".." => at = tree.parent(at).ok_or(FsError::NoEntry)?,
            _ => {
                if name.len() > NAME_BYTES {
                    return Err(FsError::NameTooLong);
                }
                let Some(child) = tree.lookup(at, name) else {
                    if !last {
                        return Err(FsError::NoEntry);
                    }
                    return Ok(Step::Done(Found { folder: at, name: name.to_owned(), node: None, slash }));
                };
                match tree.kind(child) {
                    Some(Kind::Link) if !last || follow || slash => {
                        let mut rest = tree.target(child).ok_or(FsError::NoEntry)?.to_string();
                        for name in names {
                            rest.push('/');
                            rest.push_str(name);
                        }
                        if slash {
                            rest.push('/');
                        }
                        return Ok(Step::Link(at, rest));
                    }
                    Some(kind) if last => {
                        if slash && kind != Kind::Folder {
                            return Err(FsError::NotFolder);
                        }
                        return Ok(Step::Done(Found { folder: at, name: name.to_owned(), node: Some(child), slash }));
                    }
                    _ if tree.has_inside(child) => at = child,
                    _ => return Err(FsError::NotFolder),
                }
            }
        }
    }
    Ok(Step::Done(Found { folder: at, name: String::new(), node: Some(at), slash }))
}
