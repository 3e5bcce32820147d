from camber import CustomJwt, OidcProvider

providers = [
    OidcProvider(domain="https://login.example.com", application_id="kitchen"),
    CustomJwt(
        issuer="https://issuer.example.com",
        jwks='data:application/json,{"keys":[]}',
        algorithm="ES256",
    ),
]
