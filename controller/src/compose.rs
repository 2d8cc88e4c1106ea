//! The composition: builds every service from its dependencies. The only place that knows all services; no service
//! knows this one.

use std::sync::Arc;

use axum::Router;
use cofferdam_agent_loop::{LoopConfig, LoopMetrics, Parts, Work};
use cofferdam_agents::Agents;
use cofferdam_ai::Doors;
use cofferdam_api::{Base, Invoke, Metrics, Operations, ServiceSet, Services, Status};
use cofferdam_cache::Cache;
use cofferdam_cloud::Aws;
use cofferdam_cluster::{Clusters, KubernetesClusters, Options};
use cofferdam_connectors::{Connectors, Net as ConnectorsNet};
use cofferdam_core::Vault;
use cofferdam_deployments::{
    DeploymentMetrics, Deployments, Driver, Operator, RegistryResolver, ResolveImage, Uploads,
};
use cofferdam_environments::{Environments, Variables};
use cofferdam_gateway::{Gateway, GatewayMetrics, GatewaySettings, Resolve, SystemResolver, ToolCallsSlot, read_roots};
use cofferdam_identity::{Audit, AuditConfig, Keyring, Keys, Organizations, Rates, RunTokens, Secrets};
use cofferdam_logs::{LogMetrics, Logs};
use cofferdam_models::{Models, Settings};
use cofferdam_policy::OperatorPolicy;
use cofferdam_sandbox::Sandboxes;
use cofferdam_store::{PgBus, Store};
use cofferdam_tasks::{TaskMetrics, Tasks, TasksConfig};
use cofferdam_tools::Tools;
use cofferdam_uploads::{Carrier, Pipeline, Presign, RegistryPipeline, UploadsConfig};
use cofferdam_upstreams::Net;
use cofferdam_usage::{Accounts, UsageMetrics};
use cofferdam_workers::{RestartMetrics, ToolWorker, ToolWorkers, Worker, Workers};
use parking_lot::RwLock;
use utoipa::openapi::OpenApi;

use crate::Error;
use crate::config::Config;
use crate::invoke::ByWork;
use crate::lanes::Lanes;
use crate::mcp_agents::OfWork;
use crate::named_secrets::OfOrganization;

/// The services' access to the outside world. Tests replace parts of it.
pub struct World {
    /// Looks up host names for the gateway.
    pub names: Arc<dyn Resolve>,
    /// Connects to the clusters of environments; Kubernetes by default.
    pub clusters: Option<Arc<dyn Clusters>>,
    /// Asks registries which image a reference names.
    pub images: Arc<dyn ResolveImage>,
    /// Pushes uploaded archives; into the environment's registry by default.
    pub pipeline: Option<Arc<dyn Pipeline>>,
    /// Copies images from buckets into registries; from S3 to ECR by default.
    pub carrier: Option<Arc<dyn Carrier>>,
    /// Signs upload links into buckets; S3 by default.
    pub presign: Option<Arc<dyn Presign>>,
    /// The agents that MCP offers as tools.
    pub agents: Option<Arc<dyn cofferdam_mcp::Agents>>,
    /// Makes tasks of agents for the API.
    pub invoke: Option<Arc<dyn Invoke>>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            names: Arc::new(SystemResolver::default()),
            clusters: None,
            images: Arc::new(RegistryResolver),
            pipeline: None,
            carrier: None,
            presign: None,
            agents: None,
            invoke: None,
        }
    }
}

/// The workers of this process, and their state.
#[derive(Default)]
pub struct Machines {
    pub workers: Vec<Arc<Worker>>,
    pub tools: Vec<Arc<ToolWorker>>,
    pub restarts: RestartMetrics,
    /// The current step of the start, for `/ready`.
    pub progress: Arc<RwLock<String>>,
}

/// All services of a controller.
pub struct Controller {
    pub store: Store,
    /// Wake-ups, rates and look-ups, in memory or over Redis.
    pub cache: Cache,
    pub rates: Arc<Rates>,
    pub keyring: Arc<Keyring>,
    pub keys: Arc<Keys>,
    pub organizations: Arc<Organizations>,
    pub audit: Arc<Audit>,
    pub run_tokens: Arc<RunTokens>,
    pub secrets: Arc<Secrets>,
    pub models: Arc<Models>,
    pub gateway: Arc<Gateway>,
    pub sandboxes: Arc<Sandboxes>,
    pub tools: Arc<Tools>,
    pub agents: Arc<Agents>,
    pub tasks: Arc<Tasks>,
    /// The loop of serverless agents.
    pub work: Arc<Work>,
    pub connectors: Arc<Connectors>,
    /// Active agents as MCP's tools.
    mcp_agents: Arc<dyn cofferdam_mcp::Agents>,
    invoke: Arc<dyn Invoke>,
    pub environments: Arc<Environments>,
    pub variables: Arc<Variables>,
    pub deployments: Arc<Deployments>,
    pub uploads: Arc<Uploads>,
    carrier: Arc<dyn Carrier>,
    upload_limits: UploadsConfig,
    /// SQLite allows only one process, so leases found at the start are stale.
    single_process: bool,
    pub logs: Arc<Logs>,
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
    pub base: Base,
}

impl Controller {
    /// Builds the services over an open store.
    ///
    /// # Errors
    /// An invalid setting, or a store or data folder that cannot be read.
    pub async fn new(config: Config, store: Store, machines: Machines, world: World) -> Result<Self, Error> {
        let Machines { workers, tools: tool_workers, restarts, progress } = machines;
        let (workers, tool_workers) = (Arc::new(Workers::new(workers)), Arc::new(ToolWorkers::new(tool_workers)));
        let policy = Arc::new(OperatorPolicy::load(config.policy.as_deref())?);
        let vault = Arc::new(Vault::open(config.encryption_key.as_ref(), &config.data_dir)?);
        let (gateway_metrics, log_metrics, deployment_metrics) =
            (GatewayMetrics::default(), LogMetrics::default(), DeploymentMetrics::default());
        let (usage_metrics, task_metrics, loop_metrics) =
            (UsageMetrics::default(), TaskMetrics::default(), LoopMetrics::default());
        let mut cache = Cache::connect(config.redis_url.as_ref())?;
        // Without Redis, PostgreSQL carries the wake-ups between processes.
        if config.redis_url.is_none()
            && let Some(bus) = PgBus::start(&config.database)?
        {
            cache.bus = Arc::new(bus);
        }
        let rates = Arc::new(Rates::new(Arc::clone(&cache.limiter), config.rates));
        let metrics = Metrics::new(|registry, plain| {
            restarts.register(registry);
            cache.register(registry);
            task_metrics.register(registry);
            loop_metrics.register(registry);
            gateway_metrics.register(registry);
            deployment_metrics.register(registry);
            log_metrics.register(registry);
            usage_metrics.register(registry, plain);
        });

        let keyring = Arc::new(Keyring::load(store.clone()).await?);
        let keys = Arc::new(Keys::new(store.clone(), Arc::clone(&keyring), config.keys));
        let organizations = Arc::new(Organizations::new(store.clone(), Arc::clone(&keyring)));
        let audit = Arc::new(Audit::new(store.clone(), Arc::clone(&keyring), AuditConfig::default()));
        let run_tokens = Arc::new(RunTokens::new(store.clone(), Arc::clone(&keyring)));
        let secrets = Arc::new(Secrets::new(store.clone(), Arc::clone(&vault)));

        let roots = config.gateway.ca_file.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let settings = Settings::new(
            store.clone(),
            Arc::clone(&vault),
            Arc::new(OfOrganization(Arc::clone(&secrets))),
            config.models.operator.clone(),
            Net::new(config.models.operator.private.clone(), roots.clone()).with_proxy(config.models.proxy),
        )?;
        let accounts = Accounts::new(store.clone(), config.models.usage, usage_metrics);
        let models = Models::new(settings, accounts);
        let tool_calls = ToolCallsSlot::default();
        let gateway = Gateway::new(
            GatewaySettings::new(Arc::clone(&policy), roots.clone()),
            vault.derive("placeholders"),
            world.names,
            Arc::clone(&models),
            store.clone(),
            Arc::clone(&secrets),
            tool_calls.clone(),
            gateway_metrics,
        )?;
        let sandboxes = Sandboxes::new(
            store.clone(),
            Arc::clone(&workers),
            Arc::clone(&gateway),
            Arc::clone(&policy),
            config.limits,
            config.sessions,
        );
        let tools = Tools::new(
            config.data_dir.join("blobs"),
            store.clone(),
            Arc::clone(&policy),
            config.limits,
            config.registries.clone(),
            Arc::clone(&tool_workers),
            Arc::clone(&gateway),
        );
        tool_calls.set(&tools);
        let agents = Agents::new(store.clone());
        let tasks = Tasks::new(store.clone(), Arc::clone(&cache.bus), TasksConfig::default(), task_metrics);
        let public = config.uploads.public_url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
        let connectors = Connectors::new(
            store.clone(),
            Arc::clone(&vault),
            ConnectorsNet::new(policy.network.private.clone(), roots),
            public,
        )?;
        let work = Work::new(Arc::new(Parts {
            tasks: Arc::clone(&tasks),
            agents: Arc::clone(&agents),
            models: Arc::clone(&models),
            sandboxes: Arc::clone(&sandboxes),
            tools: Arc::clone(&tools),
            connectors: Arc::clone(&connectors),
            config: LoopConfig { slots: config.agent_slots, drain: config.drain, ..LoopConfig::default() },
            metrics: loop_metrics,
        }));
        let mcp_agents = world.agents.unwrap_or_else(|| Arc::new(OfWork::new(Arc::clone(&work))));
        let invoke = world.invoke.unwrap_or_else(|| Arc::new(ByWork(Arc::clone(&work))));

        let clusters = world.clusters.unwrap_or_else(|| {
            Arc::new(KubernetesClusters::new(Options {
                egress: config.egress.clone(),
                private: policy.network.private.clone(),
                ..Options::of_this_pod()
            }))
        });
        let environments = Arc::new(Environments::new(
            store.clone(),
            Arc::clone(&vault),
            clusters,
            config.local.clone(),
            &config.registries,
        ));
        let variables = Arc::new(Variables::new(store.clone(), Arc::clone(&vault)));
        let objects = match config.roles.keeps_files() {
            true => cofferdam_objects::open(&config.objects)?,
            false => cofferdam_objects::none(),
        };
        let logs = Logs::new(store.clone(), objects, config.logs.clone(), log_metrics);
        let deployments = Deployments::new(
            store.clone(),
            Arc::clone(&vault),
            Arc::clone(&environments),
            Arc::clone(&variables),
            Arc::clone(&secrets),
            config.registries.clone(),
            world.images,
            config.deployments,
            deployment_metrics,
        );
        let registry = RegistryPipeline::new(store.clone(), Arc::clone(&environments), config.uploads.clone());
        let aws = Arc::new(Aws::new(config.uploads.clone(), registry.clone()));
        let pipeline = world.pipeline.unwrap_or_else(|| Arc::new(registry));
        let carrier = world.carrier.unwrap_or_else(|| Arc::clone(&aws) as Arc<dyn Carrier>);
        let presign = world.presign.unwrap_or(aws);
        let uploads = Uploads::new(Arc::clone(&deployments), &vault, config.uploads.clone(), pipeline, Some(presign));
        let base = Base { public_url: config.uploads.public_url.clone(), listen: config.listen };
        let status = Arc::new(Status { workers, tool_workers, progress });
        let metrics = Arc::new(metrics);
        Ok(Self {
            store,
            cache,
            rates,
            keyring,
            keys,
            organizations,
            audit,
            run_tokens,
            secrets,
            models,
            gateway,
            sandboxes,
            tools,
            agents,
            tasks,
            work,
            connectors,
            invoke,
            mcp_agents,
            environments,
            variables,
            deployments,
            uploads,
            carrier,
            upload_limits: config.uploads,
            single_process: config.database.is_file(),
            logs,
            status,
            metrics,
            base,
        })
    }

    /// The limits of what workers have in hand at once.
    pub fn lanes(&self) -> Lanes {
        let (keyring, rates, agents) = (Arc::clone(&self.keyring), Arc::clone(&self.rates), Arc::clone(&self.agents));
        Lanes { keyring, rates, agents }
    }

    /// A driver of container agents.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn driver(&self) -> Result<Driver, Error> {
        Ok(Driver::new(Arc::clone(&self.deployments), Arc::clone(&self.logs), self.single_process)?)
    }

    /// The operator, which does the work of the role `aws-operator`.
    ///
    /// # Errors
    /// The operating system returned no random bytes.
    pub fn operator(&self) -> Result<Operator, Error> {
        let (deployments, carrier) = (Arc::clone(&self.deployments), Arc::clone(&self.carrier));
        Ok(Operator::new(deployments, carrier, self.upload_limits.clone(), self.single_process)?)
    }

    /// The HTTP API over these services, and its OpenAPI document.
    pub fn router(&self) -> (Router, OpenApi) {
        let services = Services::new(ServiceSet {
            keyring: Arc::clone(&self.keyring),
            rates: Arc::clone(&self.rates),
            keys: Arc::clone(&self.keys),
            organizations: Arc::clone(&self.organizations),
            audit: Arc::clone(&self.audit),
            run_tokens: Arc::clone(&self.run_tokens),
            models: Arc::clone(self.models.settings()),
            accounts: Arc::clone(self.models.accounts()),
            secrets: Arc::clone(&self.secrets),
            sandboxes: Arc::clone(&self.sandboxes),
            tools: Arc::clone(&self.tools),
            agents: Arc::clone(&self.agents),
            tasks: Arc::clone(&self.tasks),
            invoke: Arc::clone(&self.invoke),
            connectors: Arc::clone(&self.connectors),
            environments: Arc::clone(&self.environments),
            variables: Arc::clone(&self.variables),
            deployments: Arc::clone(&self.deployments),
            uploads: Arc::clone(&self.uploads),
            logs: Arc::clone(&self.logs),
            status: Arc::clone(&self.status),
            metrics: Arc::clone(&self.metrics),
            base: self.base.clone(),
        });
        let mcp =
            cofferdam_mcp::router(Arc::clone(&self.sandboxes), Arc::clone(&self.tools), Arc::clone(&self.mcp_agents));
        cofferdam_api::router(&services, mcp, self.doors())
    }

    /// The addresses of models, in the protocols of their providers.
    fn doors(&self) -> Router {
        cofferdam_ai::router(Doors {
            models: Arc::clone(&self.models),
            keyring: Arc::clone(&self.keyring),
            rates: Arc::clone(&self.rates),
            run_tokens: Arc::clone(&self.run_tokens),
        })
    }

    /// The addresses of models, and health, readiness and metrics, for a process without an API.
    pub fn models_only(&self) -> Router {
        cofferdam_api::models_only(self.operated(), self.doors())
    }

    /// Health, readiness and metrics, for a process without an API.
    pub fn operations(&self) -> Router {
        cofferdam_api::operations(self.operated())
    }

    fn operated(&self) -> Operations {
        Operations {
            status: Arc::clone(&self.status),
            metrics: Arc::clone(&self.metrics),
            keyring: Arc::clone(&self.keyring),
            store: self.store.clone(),
        }
    }
}
