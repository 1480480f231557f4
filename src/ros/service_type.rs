//! The types of services and actions, loaded at run time as those of messages are.

use std::env;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use libloading::Library;
use r2r_rcl::rosidl_service_type_support_t;

use super::type_support::{TypeName, TypeSupport, TypeSupportError};

/// A service type that can be called.
pub struct ServiceType {
    handle: *const rosidl_service_type_support_t,
    request: TypeSupport,
    response: TypeSupport,
    /// Keeps `handle` mapped, for good, as a [`TypeSupport`] does.
    _library: ManuallyDrop<Library>,
}

// SAFETY: the handle points to static data of a library that is kept loaded; rosidl only reads it.
unsafe impl Send for ServiceType {}
// SAFETY: as above.
unsafe impl Sync for ServiceType {}

impl ServiceType {
    /// Loads the type support of `type_name` (`package/srv/Name`) from the prefixes in `AMENT_PREFIX_PATH`.
    ///
    /// # Errors
    /// See [`TypeSupportError`]; all of them can heal when the environment does.
    pub fn load(type_name: &str) -> Result<ServiceType, TypeSupportError> {
        let a = "a service type (like std_srvs/srv/SetBool)";
        let named = TypeName::parse(type_name, a)?;
        // An action's services are generated beside it.
        if !["srv", "action"].contains(&named.namespace) {
            return Err(TypeSupportError::Name { name: type_name.to_owned(), a });
        }
        let prefixes = env::var_os("AMENT_PREFIX_PATH").unwrap_or_default();
        // SAFETY: the function of that kind returns such a structure.
        let (library, handle) = unsafe { named.open("rosidl_typesupport_c", "service", &prefixes) }?;
        Ok(ServiceType {
            handle,
            request: TypeSupport::load(&format!("{type_name}_Request"))?,
            response: TypeSupport::load(&format!("{type_name}_Response"))?,
            _library: ManuallyDrop::new(library),
        })
    }

    /// The type of its requests.
    pub fn request(&self) -> &TypeSupport {
        &self.request
    }

    /// The type of its responses.
    pub fn response(&self) -> &TypeSupport {
        &self.response
    }

    pub(super) fn handle(&self) -> *const rosidl_service_type_support_t {
        self.handle
    }
}

/// An action type whose goals can be sent.
pub struct ActionType {
    pub send_goal: Arc<ServiceType>,
    pub get_result: Arc<ServiceType>,
    pub cancel_goal: Arc<ServiceType>,
    /// `goal_id` and `feedback`.
    pub feedback: Arc<TypeSupport>,
    /// `action_msgs/msg/GoalStatusArray`.
    pub status: Arc<TypeSupport>,
}

impl ActionType {
    /// Loads the type supports of `type_name` (`package/action/Name`) from the prefixes in `AMENT_PREFIX_PATH`.
    ///
    /// # Errors
    /// See [`TypeSupportError`]; all of them can heal when the environment does.
    pub fn load(type_name: &str) -> Result<ActionType, TypeSupportError> {
        let a = "an action type (like example_interfaces/action/Fibonacci)";
        let TypeName { package, namespace, name } = TypeName::parse(type_name, a)?;
        if namespace != "action" {
            return Err(TypeSupportError::Name { name: type_name.to_owned(), a });
        }
        let service = |part| ServiceType::load(&format!("{type_name}_{part}")).map(Arc::new);
        // Whoever mistypes the action is told of that, not of one of its parts.
        let send_goal = service("SendGoal").map_err(|error| match error {
            TypeSupportError::TypeMissing { library, .. } => {
                TypeSupportError::TypeMissing { package: package.to_owned(), name: name.to_owned(), library }
            }
            other => other,
        })?;
        Ok(ActionType {
            send_goal,
            get_result: service("GetResult")?,
            cancel_goal: Arc::new(ServiceType::load("action_msgs/srv/CancelGoal")?),
            feedback: Arc::new(TypeSupport::load(&format!("{type_name}_FeedbackMessage"))?),
            status: Arc::new(TypeSupport::load("action_msgs/msg/GoalStatusArray")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_actions_are_loaded_by_their_names() {
        let service = ServiceType::load("test_msgs/srv/Arrays").unwrap();
        assert_eq!(service.request().schema().name, "test_msgs/srv/Arrays_Request");
        assert_eq!(service.response().schema().name, "test_msgs/srv/Arrays_Response");
        let action = ActionType::load("test_msgs/action/Fibonacci").unwrap();
        let names = |support: &TypeSupport| {
            support.schema().fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(action.send_goal.request()), "goal_id goal");
        assert_eq!(names(action.get_result.response()), "status result");
        assert_eq!(names(&action.feedback), "goal_id feedback");
    }

    #[test]
    fn what_is_missing_is_named() {
        let service = |name: &str| ServiceType::load(name).err().expect("should fail").to_string();
        let action = |name: &str| ActionType::load(name).err().expect("should fail").to_string();
        assert!(service("no_such_msgs/srv/A").contains("package `no_such_msgs` is not in the ROS environment"));
        assert!(service("std_srvs/srv/NoSuch").contains("package `std_srvs` has no type `NoSuch` ("));
        assert!(action("test_msgs/action/NoSuch").contains("package `test_msgs` has no type `NoSuch` ("));
        for wrong in ["SetBool", "std_srvs/SetBool", "std_msgs/msg/String", "std_srvs/srv/"] {
            assert_eq!(
                service(wrong),
                format!("`{wrong}` is not the name of a service type (like std_srvs/srv/SetBool)")
            );
            assert!(action(wrong).contains("is not the name of an action type"), "{wrong}");
        }
    }
}
