from camber import OidcProvider

providers = [OidcProvider(domain="http://127.0.0.1:3211", application_id="convex")]
