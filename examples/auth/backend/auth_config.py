"""Whose tokens are accepted: this deployment's own."""

from camber import Env, OidcProvider

providers = [OidcProvider(domain=Env("CONVEX_SITE_URL"), application_id="convex")]
