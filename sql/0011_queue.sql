-- Tenants and scheduled queues, as in the queue helper's files.

create table policy.tenant (
  name text constraint tenants_are_unique primary key
    constraint name_has_no_separator_of_queue_names check (policy.is_queue_part(name)),
  egress_pool text constraint the_egress_pool_exists references policy.egress_pool on update cascade,
  require_authz text[],
  overall_max_message_rate text,
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint egress_pool_and_routing_domain_are_columns_not_options check (not options ?| array['egress_pool', 'routing_domain']),
  tag text not null generated always as ('tenant/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint tenant_documents_are_unique unique
);
create index tenant_egress_pool on policy.tenant (egress_pool);
comment on table policy.tenant is 'Who sends. Mail of a tenant without a row is refused at reception, as by the queue helper.';
comment on column policy.tenant.name is 'as in the tenant header';
comment on column policy.tenant.egress_pool is 'the pool of its queues; null: as the domain says';
comment on column policy.tenant.require_authz is 'authenticated users that may send as it; null: anybody; empty: nobody';
comment on column policy.tenant.overall_max_message_rate is 'limit of all its queues together, such as 100/h';
comment on column policy.tenant.options is 'options of kumo.make_queue_config for its queues';
comment on column policy.tenant.tag is 'its document';

create table policy.tenant_campaign (
  tenant text not null constraint the_tenant_exists references policy.tenant on delete cascade on update cascade,
  campaign text not null constraint campaign_has_no_separator_of_queue_names check (policy.is_queue_part(campaign)),
  overall_max_message_rate text,
  tag text not null generated always as ('tenant/' || replace(replace(tenant, '%', '%25'), '/', '%2F')) stored,
  constraint campaigns_are_unique_in_a_tenant primary key (tenant, campaign)
);
comment on table policy.tenant_campaign is 'A tenant''s campaigns, which have a rate and nothing else.';
comment on column policy.tenant_campaign.tenant is 'the tenant';
comment on column policy.tenant_campaign.campaign is 'as in the campaign header';
comment on column policy.tenant_campaign.overall_max_message_rate is 'limit of all its queues together, such as 100/h';
comment on column policy.tenant_campaign.tag is 'the document that it is part of: the tenant';

create table policy.queue (
  domain text constraint queues_are_unique primary key
    constraint domain_is_lower_case_a_labels_without_trailing_dot check (policy.is_domain(domain)),
  egress_pool text constraint the_egress_pool_exists references policy.egress_pool on update cascade,
  routing_domain text constraint routing_domain_is_a_domain_or_an_address_literal check (policy.is_host(routing_domain)),
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint egress_pool_and_routing_domain_are_columns_not_options check (not options ?| array['egress_pool', 'routing_domain']),
  tag text not null generated always as ('queue/' || domain) stored constraint queue_documents_are_unique unique
);
create index queue_egress_pool on policy.queue (egress_pool);
comment on table policy.queue is
  'Scheduled queues by recipient domain; the nearest name wins. default is what all others are laid over.';
comment on column policy.queue.domain is 'a domain, *.parent for all below one, * for all others, or default';
comment on column policy.queue.egress_pool is 'the pool; unspecified: the host''s own address; null: as default says';
comment on column policy.queue.routing_domain is 'where to deliver instead of the domain';
comment on column policy.queue.options is 'options of kumo.make_queue_config';
comment on column policy.queue.tag is 'its document';

create table policy.queue_tenant (
  domain text not null constraint the_queue_exists references policy.queue on delete cascade on update cascade,
  tenant text not null constraint tenant_has_no_separator_of_queue_names check (policy.is_queue_part(tenant)),
  egress_pool text constraint the_egress_pool_exists references policy.egress_pool on update cascade,
  routing_domain text constraint routing_domain_is_a_domain_or_an_address_literal check (policy.is_host(routing_domain)),
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint egress_pool_and_routing_domain_are_columns_not_options check (not options ?| array['egress_pool', 'routing_domain']),
  tag text not null generated always as ('queue/' || domain || '/' || replace(replace(tenant, '%', '%25'), '/', '%2F')) stored
    constraint queue_tenant_documents_are_unique unique,
  constraint tenants_are_unique_in_a_queue primary key (domain, tenant)
);
create index queue_tenant_egress_pool on policy.queue_tenant (egress_pool);
comment on table policy.queue_tenant is 'What is different for a tenant in a queue.';
comment on column policy.queue_tenant.domain is 'the queue';
comment on column policy.queue_tenant.tenant is 'the tenant, with or without a row in policy.tenant';
comment on column policy.queue_tenant.egress_pool is 'the pool; null: as the levels above say';
comment on column policy.queue_tenant.routing_domain is 'where to deliver instead of the domain';
comment on column policy.queue_tenant.options is 'options of kumo.make_queue_config, laid over those above';
comment on column policy.queue_tenant.tag is 'its document';

create table policy.queue_campaign (
  domain text not null,
  tenant text not null,
  campaign text not null constraint campaign_has_no_separator_of_queue_names check (policy.is_queue_part(campaign)),
  egress_pool text constraint the_egress_pool_exists references policy.egress_pool on update cascade,
  routing_domain text constraint routing_domain_is_a_domain_or_an_address_literal check (policy.is_host(routing_domain)),
  options jsonb not null default '{}'
    constraint options_is_an_object check (jsonb_typeof(options) = 'object')
    constraint egress_pool_and_routing_domain_are_columns_not_options check (not options ?| array['egress_pool', 'routing_domain']),
  tag text not null generated always as (
    'queue/' || domain || '/' || replace(replace(tenant, '%', '%25'), '/', '%2F') || '/' || replace(replace(campaign, '%', '%25'), '/', '%2F')) stored
    constraint queue_campaign_documents_are_unique unique,
  constraint campaigns_are_unique_in_a_queue primary key (domain, tenant, campaign),
  constraint the_queue_of_the_tenant_exists foreign key (domain, tenant)
    references policy.queue_tenant on delete cascade on update cascade
);
create index queue_campaign_egress_pool on policy.queue_campaign (egress_pool);
comment on table policy.queue_campaign is 'What is different for a campaign of a tenant in a queue.';
comment on column policy.queue_campaign.domain is 'the queue';
comment on column policy.queue_campaign.tenant is 'the tenant in it';
comment on column policy.queue_campaign.campaign is 'the campaign';
comment on column policy.queue_campaign.egress_pool is 'the pool; null: as the levels above say';
comment on column policy.queue_campaign.routing_domain is 'where to deliver instead of the domain';
comment on column policy.queue_campaign.options is 'options of kumo.make_queue_config, laid over those above';
comment on column policy.queue_campaign.tag is 'its document';

create table policy.queue_settings (
  singleton boolean primary key default true constraint there_is_one_row check (singleton),
  scheduling_header text constraint scheduling_header_is_a_header_name check (policy.is_header(scheduling_header)),
  tenant_header text constraint tenant_header_is_a_header_name check (policy.is_header(tenant_header)),
  campaign_header text constraint campaign_header_is_a_header_name check (policy.is_header(campaign_header)),
  remove_tenant_header boolean,
  remove_campaign_header boolean,
  default_tenant text constraint the_default_tenant_exists references policy.tenant on update cascade,
  on_missing text not null default 'hold' constraint on_missing_is_hold_or_stock check (on_missing in ('hold', 'stock')),
  tag text not null generated always as ('queue_settings') stored
);
comment on table policy.queue_settings is 'One row: what the queue helper''s files say at their top.';
comment on column policy.queue_settings.singleton is 'always true';
comment on column policy.queue_settings.scheduling_header is 'header that schedules a message';
comment on column policy.queue_settings.tenant_header is 'header that names the tenant';
comment on column policy.queue_settings.campaign_header is 'header that names the campaign';
comment on column policy.queue_settings.remove_tenant_header is 'whether to remove it';
comment on column policy.queue_settings.remove_campaign_header is 'whether to remove it';
comment on column policy.queue_settings.default_tenant is 'the tenant of messages that name none';
comment on column policy.queue_settings.on_missing is
  'a queue without any pool, or with a tenant without a row: hold its mail, or (stock) send from the host''s own address';
comment on column policy.queue_settings.tag is 'its document';

call policy.watch('policy.tenant', 'queue_config', 'tenant');
call policy.watch('policy.tenant_campaign', 'tenant');
call policy.watch('policy.queue', 'queue_config');
call policy.watch('policy.queue_tenant', 'queue_config');
call policy.watch('policy.queue_campaign', 'queue_config');
call policy.watch('policy.queue_settings');

insert into policy.queue (domain) values ('default');
insert into policy.queue_settings default values;
create trigger t050_keep_default before delete on policy.queue for each row when (old.domain = 'default')
  execute function policy.keep('queue default cannot be deleted or renamed: all others are laid over it; its columns may be changed');
create trigger t050_keep_default_name before update on policy.queue for each row
  when (old.domain = 'default' and new.domain <> 'default')
  execute function policy.keep('queue default cannot be deleted or renamed: all others are laid over it; its columns may be changed');
create trigger t050_keep_settings before delete on policy.queue_settings for each row
  execute function policy.keep('the row of queue_settings cannot be deleted; its columns may be changed');

create view policy.tenant_document as
select t.tag, jsonb_strip_nulls(jsonb_build_object(
  'egress_pool', t.egress_pool,
  'require_authz', to_jsonb(t.require_authz),
  'overall_max_message_rate', t.overall_max_message_rate,
  'campaigns', (
    select jsonb_object_agg(c.campaign, jsonb_strip_nulls(jsonb_build_object(
      'overall_max_message_rate', c.overall_max_message_rate)))
    from policy.tenant_campaign as c where c.tenant = t.name)))
  || jsonb_build_object('options', t.options) as body
from policy.tenant as t;
comment on view policy.tenant_document is 'A tenant with its campaigns.';
comment on column policy.tenant_document.tag is 'the document';
comment on column policy.tenant_document.body is 'what it says';

create view policy.queue_document as
select q.tag, jsonb_strip_nulls(jsonb_build_object('egress_pool', q.egress_pool, 'routing_domain', q.routing_domain))
  || jsonb_build_object('options', q.options) as body from policy.queue as q
union all
select t.tag, jsonb_strip_nulls(jsonb_build_object('egress_pool', t.egress_pool, 'routing_domain', t.routing_domain))
  || jsonb_build_object('options', t.options) from policy.queue_tenant as t
union all
select c.tag, jsonb_strip_nulls(jsonb_build_object('egress_pool', c.egress_pool, 'routing_domain', c.routing_domain))
  || jsonb_build_object('options', c.options) from policy.queue_campaign as c;
comment on view policy.queue_document is 'One level of a queue: domain, domain and tenant, or domain, tenant and campaign.';
comment on column policy.queue_document.tag is 'the document';
comment on column policy.queue_document.body is 'what it says';

create view policy.queue_settings_document as
select s.tag, jsonb_strip_nulls(to_jsonb(s) - '{singleton,tag}'::text[]) as body from policy.queue_settings as s;
comment on view policy.queue_settings_document is 'What the queue helper''s files say at their top, and on_missing.';
comment on column policy.queue_settings_document.tag is 'the document';
comment on column policy.queue_settings_document.body is 'what it says';
