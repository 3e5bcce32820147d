import json

from camber import CustomJwt

# Whose private half is the number 52 (tests/proofs/serving.py).
_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "proofs",
    "x": "GU41xOwvJe9TcQXSsuVMGAPrLQoESS49Lh1y0EuXixg",
    "y": "r0JnmsFOp5i9t48Wg8QpTGjqfRHoPVabwEn-JAPPR2Q",
}
providers = [
    CustomJwt(
        issuer="https://proofs.example.com",
        jwks=f"data:application/json,{json.dumps({'keys': [_KEY]})}",
        algorithm="ES256",
        application_id="app",
    )
]
