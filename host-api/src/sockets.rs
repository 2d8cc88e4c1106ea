//! `wasi:sockets` for components that import it only because their language's runtime does. Never a network.
//!
//! Every function returns `access-denied` if its type allows that, and traps otherwise. No guest gets a socket.

use wasmtime::{
    StoreContextMut,
    component::{
        Component, Linker, Resource, ResourceType, Val,
        types::{ComponentFunc, ComponentInstance, ComponentItem, Type},
    },
};

use crate::sandbox::SandboxView;

const PACKAGE: &str = "wasi:sockets/";
const DENIED: &str = "access-denied";

/// A network that denies everything. Language runtimes get one before they resolve a name, and trap without it.
struct Denied;

/// Defines the `wasi:sockets` interfaces that a component imports. The linker must be the component's own clone,
/// because another component may import other functions under the same names. Returns true if there were any.
pub fn deny_sockets<T: SandboxView + 'static>(linker: &mut Linker<T>, component: &Component) -> wasmtime::Result<bool> {
    let engine = linker.engine().clone();
    let component = component.component_type();
    let mut theirs = Vec::new();
    let mut others = Vec::new();
    for (name, import) in component.imports(&engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if name.starts_with(PACKAGE) {
            theirs.push((name, interface));
        } else {
            others.extend(interface.exports(&engine).filter_map(|(_, item)| resource(&item.ty)));
        }
    }
    for (name, interface) in &theirs {
        deny(linker, name, interface, &others)?;
    }
    Ok(!theirs.is_empty())
}

fn resource(item: &ComponentItem) -> Option<ResourceType> {
    if let ComponentItem::Resource(resource) = item { Some(*resource) } else { None }
}

fn deny<T: SandboxView + 'static>(
    linker: &mut Linker<T>,
    name: &str,
    interface: &ComponentInstance,
    others: &[ResourceType],
) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut denied = linker.instance(name)?;
    for (function, item) in interface.exports(&engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => {
                let path = format!("{name}#{function}");
                denied.func_new(function, move |mut store, ty, params, results| {
                    give_back(&mut store, params)?;
                    answer(store, &path, &ty, results)
                })?;
            }
            // Resources of `wasi:io` are already defined.
            ComponentItem::Resource(resource) if !others.contains(&resource) => {
                denied.resource(function, ResourceType::host::<Denied>(), |mut store, rep| {
                    store.data_mut().sandbox().table().delete(Resource::<Denied>::new_own(rep))?;
                    Ok(())
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns borrowed parameters and drops owned ones.
fn give_back<T: 'static>(store: &mut StoreContextMut<'_, T>, params: &[Val]) -> wasmtime::Result<()> {
    params.iter().try_for_each(|param| match param {
        Val::Resource(resource) => resource.resource_drop(&mut *store),
        _ => Ok(()),
    })
}

fn answer<T: SandboxView + 'static>(
    mut store: StoreContextMut<'_, T>,
    path: &str,
    ty: &ComponentFunc,
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let answer = match ty.results().next() {
        Some(Type::Result(result)) if has_denied(result.err()) => {
            Some(Val::Result(Err(Some(Box::new(Val::Enum(DENIED.to_owned()))))))
        }
        Some(Type::Option(_)) => Some(Val::Option(None)),
        Some(Type::Own(ty)) if ty == ResourceType::host::<Denied>() => {
            let network = store.data_mut().sandbox().push(Denied)?;
            Some(Val::Resource(network.try_into_resource_any(&mut store)?))
        }
        _ => None,
    };
    match (answer, results) {
        (Some(answer), [result]) => {
            *result = answer;
            Ok(())
        }
        _ => Err(wasmtime::format_err!("{path} was called, but a sandbox has no sockets: use wasi:http")),
    }
}

fn has_denied(error: Option<Type>) -> bool {
    matches!(error, Some(Type::Enum(cases)) if cases.names().any(|case| case == DENIED))
}
