//! Type supports, loaded at run time from the sourced ROS environment.

use std::collections::HashMap;
use std::env;
use std::ffi::{CStr, OsStr};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use libloading::Library;
use r2r_rcl::rosidl_message_type_support_t;
use r2r_rcl::rosidl_typesupport_introspection_c__MessageMembers as Members;

use super::buffer::Buffer;
use super::distribution::BUILT_FOR;
use super::error::RosError;
use super::introspection::{self, UnsupportedShape};
use super::message::Message;
use super::type_hash::TypeHash;
use iot_bridge_core::codec::{Kind, Schema};

/// A message type that can be subscribed to and decoded.
pub struct TypeSupport {
    handle: *const rosidl_message_type_support_t,
    members: *const Members,
    schema: Arc<Schema>,
    /// Keeps `handle`, `members` and rosidl's tables mapped, for good: DDS may have kept something of them, and the environment has
    /// no more than so many.
    _libraries: [ManuallyDrop<Library>; 2],
}

/// Why a message type can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TypeSupportError {
    /// The name is not of the form `package/msg/Name`, or `srv` or `action` where such a type is needed.
    #[error("`{name}` is not the name of {a}")]
    Name {
        name: String,
        /// `a message type (like std_msgs/msg/String)`.
        a: &'static str,
    },
    /// No prefix of the environment has the package, or it was built without C type support.
    #[error(
        "package `{package}` is not in the ROS environment: {library} is in none of AMENT_PREFIX_PATH ({searched}). \
         Source the workspace that has it; for the service, add its setup file to ROS_SETUP in \
         /etc/default/iot-bridge and restart"
    )]
    PackageMissing { package: String, library: String, searched: String },
    /// The package is there, but does not have this type.
    #[error("package `{package}` has no type `{name}` ({library})")]
    TypeMissing { package: String, name: String, library: PathBuf },
    /// The dynamic linker refused.
    #[error("{library} could not be loaded: {reason}")]
    Load { library: PathBuf, reason: String },
    /// rosidl's tables are others than those that the program was built with.
    #[error(
        "the message packages of this ROS environment ({distribution}) are laid out otherwise than those of {BUILT_FOR}, for \
         which this iot-bridge was built: install the iot-bridge for it"
    )]
    Layout { distribution: String },
    /// The bridge can't carry messages of this shape.
    #[error(transparent)]
    Shape(#[from] UnsupportedShape),
    /// The type's default message can't be had.
    #[error("the defaults of {name} are unknown: {error}")]
    Defaults { name: String, error: RosError },
}

impl TypeSupport {
    /// Loads the type support of `type_name` (`package/msg/Name`) from the prefixes in `AMENT_PREFIX_PATH`.
    ///
    /// # Errors
    /// See [`TypeSupportError`]; all of them can heal when the environment does.
    pub fn load(type_name: &str) -> Result<TypeSupport, TypeSupportError> {
        let prefixes = env::var_os("AMENT_PREFIX_PATH").unwrap_or_default();
        expect_layout(&prefixes)?;
        load_from(type_name, &prefixes)
    }

    /// The shape of the type.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The default messages of the type and of each type within it, as CDR, by the names of the types: what an
    /// [`Encoder`](iot_bridge_core::codec::Encoder) takes.
    ///
    /// # Errors
    /// [`TypeSupportError`] of a type within it, or of the RMW that serializes them.
    pub fn defaults(&self) -> Result<HashMap<String, Vec<u8>>, TypeSupportError> {
        let mut defaults = HashMap::new();
        let mut open = vec![Arc::clone(&self.schema)];
        while let Some(schema) = open.pop() {
            if defaults.contains_key(&schema.name) {
                continue;
            }
            let default = match schema.name == self.schema.name {
                true => self.default_message()?,
                false => TypeSupport::load(&schema.name)?.default_message()?,
            };
            defaults.insert(schema.name.clone(), default);
            open.extend(schema.fields.iter().filter_map(|field| match &field.kind {
                Kind::Message(nested) => Some(Arc::clone(nested)),
                _ => None,
            }));
        }
        Ok(defaults.into_iter().filter_map(|(name, default)| Some((name, default?))).collect())
    }

    /// `None` of a type that has no initialisation.
    fn default_message(&self) -> Result<Option<Vec<u8>>, TypeSupportError> {
        let serialized = || {
            let Some(message) = Message::new(self) else { return Ok(None) };
            let mut buffer = Buffer::new()?;
            message.write_cdr(&mut buffer)?;
            Ok(Some(buffer.bytes().to_vec()))
        };
        serialized().map_err(|error| TypeSupportError::Defaults { name: self.schema.name.clone(), error })
    }

    /// rosidl's table of the type, with its functions.
    pub(super) fn members(&self) -> &Members {
        // SAFETY: static data of a library that is kept loaded.
        unsafe { &*self.members }
    }

    pub(super) fn handle(&self) -> *const rosidl_message_type_support_t {
        self.handle
    }

    /// The hash of the definition that is sourced; `None` where there is none to tell.
    pub(super) fn definition(&self) -> Option<TypeHash> {
        // SAFETY: the library that the handle points into is kept loaded.
        unsafe { TypeHash::of_type(self.handle) }
    }
}

/// The shape of `type_name` (`package/msg/Name`) in the sourced environment.
///
/// # Errors
/// As of [`TypeSupport::load`].
pub fn schema_of(type_name: &str) -> Result<Arc<Schema>, TypeSupportError> {
    Ok(Arc::clone(TypeSupport::load(type_name)?.schema()))
}

fn load_from(type_name: &str, prefixes: &OsStr) -> Result<TypeSupport, TypeSupportError> {
    let named = TypeName::parse(type_name, "a message type (like std_msgs/msg/String)")?;
    // SAFETY: the function of that kind returns such a structure.
    let open = |kind| unsafe { named.open::<rosidl_message_type_support_t>(kind, "message", prefixes) };
    let (library, handle) = open("rosidl_typesupport_c")?;
    let (introspection_library, introspection) = open(INTROSPECTION)?;
    // SAFETY: the function of that name in the introspection library answers a type support of that kind, whose data
    // is the members table; the library is kept beside it.
    let (members, schema) = unsafe {
        let members = (*introspection).data.cast();
        (members, introspection::schema(members)?)
    };
    Ok(TypeSupport { handle, members, schema, _libraries: [library, introspection_library].map(ManuallyDrop::new) })
}

const INTROSPECTION: &str = "rosidl_typesupport_introspection_c";

/// Looks, the first time, whether tables are laid out as the program was built for.
///
/// # Errors
/// [`TypeSupportError::Layout`].
fn expect_layout(prefixes: &OsStr) -> Result<(), TypeSupportError> {
    static IS_AS_BUILT: OnceLock<bool> = OnceLock::new();
    if *IS_AS_BUILT.get_or_init(|| is_laid_out_as_built(prefixes)) {
        return Ok(());
    }
    let distribution = env::var("ROS_DISTRO").unwrap_or_else(|_| "ROS_DISTRO is not set".to_owned());
    Err(TypeSupportError::Layout { distribution })
}

/// Whether the tables of the environment are laid out as those that the program was built with, as far as can be seen: an
/// environment without `builtin_interfaces` has no message type either.
fn is_laid_out_as_built(prefixes: &OsStr) -> bool {
    let time = TypeName { package: "builtin_interfaces", namespace: "msg", name: "Time" };
    // SAFETY: the function of that kind returns such a structure.
    let opened = unsafe { time.open::<rosidl_message_type_support_t>(INTROSPECTION, "message", prefixes) };
    let Ok((library, support)) = opened else { return true };
    // As each library of types, it stays.
    let _library = ManuallyDrop::new(library);
    // SAFETY: it is a type support whose data is the members table of that type.
    unsafe { introspection::is_laid_out_as_built((*support).data.cast()) }
}

/// The parts of a type's name, each an identifier.
pub(super) struct TypeName<'a> {
    pub(super) package: &'a str,
    /// `msg`, `srv` or `action`.
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> TypeName<'a> {
    /// The parts of `type_name`, which is to be the name of `a` type of some kind, for the error.
    pub(super) fn parse(type_name: &'a str, a: &'static str) -> Result<Self, TypeSupportError> {
        let no_name = || TypeSupportError::Name { name: type_name.to_owned(), a };
        let mut parts = type_name.split('/');
        let [Some(package), Some(namespace), Some(name), None] = [(); 4].map(|()| parts.next()) else {
            return Err(no_name());
        };
        if ![package, namespace, name].into_iter().all(is_identifier) {
            return Err(no_name());
        }
        Ok(TypeName { package, namespace, name })
    }

    /// Opens the library with type supports of `kind`, in the first of the `prefixes` that has it, and has it return the
    /// handle of this type, a `message` or `service`. The handle stays valid for as long as the library is loaded.
    ///
    /// # Safety
    /// `T` has to be rosidl's structure of such a type support.
    pub(super) unsafe fn open<T>(
        &self,
        kind: &str,
        of: &str,
        prefixes: &OsStr,
    ) -> Result<(Library, *const T), TypeSupportError> {
        let TypeName { package, namespace, name } = *self;
        let path = find(package, kind, prefixes)?;
        let library = open_library(&path)?;
        let symbol = format!("{kind}__get_{of}_type_support_handle__{package}__{namespace}__{name}");
        // SAFETY: rosidl generates this symbol as a function without arguments that returns a static structure, which is a
        // `T` by the caller's promise.
        let handle = unsafe {
            let function: libloading::Symbol<unsafe extern "C" fn() -> *const T> =
                library.get(symbol.as_bytes()).map_err(|_| TypeSupportError::TypeMissing {
                    package: package.to_owned(),
                    name: name.to_owned(),
                    library: path.clone(),
                })?;
            function()
        };
        if handle.is_null() {
            return Err(TypeSupportError::Load { library: path, reason: format!("{symbol} answers nothing") });
        }
        Ok((library, handle))
    }
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The library of `package` with type supports of `kind`, in the first prefix that has it.
fn find(package: &str, kind: &str, prefixes: &OsStr) -> Result<PathBuf, TypeSupportError> {
    let file = format!("lib{package}__{kind}.so");
    // An empty or relative prefix would mean the working directory, where anybody may have put a library.
    let mut candidates =
        env::split_paths(prefixes).filter(|prefix| prefix.is_absolute()).map(|prefix| prefix.join("lib").join(&file));
    candidates.find(|path| path.is_file()).ok_or_else(|| TypeSupportError::PackageMissing {
        package: package.to_owned(),
        library: file.clone(),
        searched: prefixes.to_string_lossy().into_owned(),
    })
}

fn open_library(path: &Path) -> Result<Library, TypeSupportError> {
    // SAFETY: running a library's initialisers is what loading a ROS message package means; the path comes from the
    // environment that the administrator sourced.
    unsafe { Library::new(path) }
        .map_err(|error| TypeSupportError::Load { library: path.to_owned(), reason: error.to_string() })
}

/// The type supports that are in use, each loaded once.
#[derive(Default)]
pub(super) struct TypeSupports {
    loaded: HashMap<String, Weak<TypeSupport>>,
}

impl TypeSupports {
    pub(super) fn get(&mut self, type_name: &str) -> Result<Arc<TypeSupport>, TypeSupportError> {
        if let Some(found) = self.loaded.get(type_name).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let loaded = Arc::new(TypeSupport::load(type_name)?);
        self.loaded.retain(|_, support| support.strong_count() > 0);
        self.loaded.insert(type_name.to_owned(), Arc::downgrade(&loaded));
        Ok(loaded)
    }
}

// SAFETY: handle and members point to static data of libraries that are kept loaded; rosidl only reads it.
unsafe impl Send for TypeSupport {}
// SAFETY: as above.
unsafe impl Sync for TypeSupport {}

/// Name of the RMW implementation in use, such as `rmw_fastrtps_cpp`.
pub(super) fn rmw_name() -> String {
    // SAFETY: answers a static NUL-terminated text.
    unsafe { CStr::from_ptr(r2r_rcl::rmw_get_implementation_identifier()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::codec::{Count, Decoder, Encoder, JsonBuffer};

    #[test]
    fn loads_a_type_that_the_program_was_not_built_with() {
        let support = TypeSupport::load("geometry_msgs/msg/PoseWithCovariance").unwrap();
        let schema = support.schema();
        assert_eq!(schema.name, "geometry_msgs/msg/PoseWithCovariance");
        assert_eq!(schema.fields[0].name, "pose");
        let Kind::Message(pose) = &schema.fields[0].kind else { panic!("{schema:?}") };
        assert_eq!(pose.name, "geometry_msgs/msg/Pose");
        assert_eq!((&schema.fields[1].kind, schema.fields[1].count), (&Kind::F64, Count::Array(36)));
    }

    /// A type is loaded once for all who use it at a time, and forgotten when nobody does; its library stays.
    #[test]
    fn types_that_nobody_uses_are_forgotten() {
        let mut types = TypeSupports::default();
        let used = types.get("std_msgs/msg/String").unwrap();
        assert!(Arc::ptr_eq(&used, &types.get("std_msgs/msg/String").unwrap()));
        for name in ["Bool", "Byte", "Char", "Empty", "Header"] {
            let definition = types.get(&format!("std_msgs/msg/{name}")).unwrap().definition();
            assert!(types.loaded.len() <= 2, "{name}");
            assert_eq!(types.get(&format!("std_msgs/msg/{name}")).unwrap().definition(), definition);
        }
    }

    /// What a definition gives its fields is what a text that says nothing becomes: in the message itself, in messages within
    /// it, and in the elements of a sequence that is empty by default.
    #[test]
    fn a_type_knows_the_defaults_of_its_definition() {
        let encoded = |name: &str, json: &str| {
            let support = TypeSupport::load(name).unwrap();
            let encoder = Encoder::new(support.schema(), &support.defaults().unwrap(), &[]).unwrap();
            let mut cdr = Vec::new();
            encoder.encode(json.as_bytes(), &mut cdr).unwrap();
            let mut out = JsonBuffer::new(1 << 16);
            Decoder::new(support.schema().clone()).unwrap().write_json(&cdr, &mut out).unwrap();
            String::from_utf8(out.as_bytes().to_vec()).unwrap()
        };
        let defaults = concat!(
            r#"{"bool_value":true,"byte_value":50,"char_value":100,"float32_value":1.125,"float64_value":1.125,"#,
            r#""int8_value":-50,"uint8_value":200,"int16_value":-1000,"uint16_value":2000,"int32_value":-30000,"#,
            r#""uint32_value":60000,"int64_value":-40000000,"uint64_value":50000000}"#
        );
        assert_eq!(encoded("test_msgs/msg/Defaults", "{}"), defaults);
        let sequences =
            encoded("test_msgs/msg/UnboundedSequences", r#"{"defaults_values":[{}],"int8_values_default":[]}"#);
        assert!(sequences.contains(&format!("\"defaults_values\":[{defaults}]")), "{sequences}");
        assert!(sequences.contains(r#""string_values_default":["","max value","min value"]"#), "{sequences}");
        assert!(sequences.contains(r#""int8_values_default":[]"#), "{sequences}");
        assert!(
            encoded("geometry_msgs/msg/Pose", "{}").ends_with(r#""orientation":{"x":0.0,"y":0.0,"z":0.0,"w":1.0}}"#)
        );
        assert_eq!(encoded("std_msgs/msg/Empty", "{}"), "{}");
    }

    #[test]
    fn a_message_without_fields_has_none() {
        assert!(TypeSupport::load("std_msgs/msg/Empty").unwrap().schema().fields.is_empty());
    }

    /// Nothing is loaded from the working directory, which an empty or relative prefix would mean.
    #[test]
    fn only_absolute_prefixes_are_searched() {
        let directory = tempfile::tempdir().unwrap();
        let prefix = directory.path().join("prefix");
        std::fs::create_dir_all(prefix.join("lib")).unwrap();
        std::fs::write(prefix.join("lib/liba_msgs__kind.so"), "").unwrap();
        // Each test is a process of its own.
        env::set_current_dir(&prefix).unwrap();
        for prefixes in ["", ":", ".", "./", "../prefix", ":../prefix:."] {
            let found = find("a_msgs", "kind", OsStr::new(prefixes));
            assert!(matches!(found, Err(TypeSupportError::PackageMissing { .. })), "{prefixes:?} finds {found:?}");
        }
        let path = prefix.join("lib/liba_msgs__kind.so");
        let prefixes = env::join_paths(["", "../prefix", prefix.to_str().unwrap()]).unwrap();
        assert_eq!(find("a_msgs", "kind", &prefixes).unwrap(), path);
    }

    #[test]
    fn what_is_missing_is_named() {
        let load = |name: &str| TypeSupport::load(name).err().expect("should fail").to_string();
        assert!(load("no_such_msgs/msg/Thing").contains("package `no_such_msgs` is not in the ROS environment"));
        assert!(load("std_msgs/msg/NoSuchThing").contains("package `std_msgs` has no type `NoSuchThing`"));
        for wrong in ["String", "std_msgs/String", "std_msgs/msg/", "../../etc/passwd", "a/b/c/d", "std_msgs/msg/St\0"]
        {
            assert!(load(wrong).contains("is not the name of a message type"), "{wrong}");
        }
    }
}
