// A page whose users sign in elsewhere: `ConvexProviderWithAuth`, and tokens that the test hands out.
import {
  Authenticated,
  AuthLoading,
  ConvexProviderWithAuth,
  ConvexReactClient,
  Unauthenticated,
  useConvexAuth,
  useMutation,
  useQuery,
} from "convex/react";
import { anyApi as api } from "convex/server";
import { createContext, StrictMode, useCallback, useContext, useMemo, useState } from "react";
import { createRoot } from "react-dom/client";

const client = new ConvexReactClient(location.origin);
const Provider = createContext(null);
/** What React has rendered, in order and without repetition. */
const seen = (window.seen = []);

function useProvider() {
  const { signedIn } = useContext(Provider);
  const fetchAccessToken = useCallback(
    ({ forceRefreshToken }) => window.issueToken(forceRefreshToken),
    [],
  );
  return useMemo(
    () => ({ isLoading: false, isAuthenticated: signedIn, fetchAccessToken }),
    [signedIn, fetchAccessToken],
  );
}

function Seen() {
  const { isLoading, isAuthenticated } = useConvexAuth();
  const state = isLoading ? "loading" : isAuthenticated ? "in" : "out";
  if (seen.at(-1) !== state) seen.push(state);
  return null;
}

function Who({ label }) {
  const me = useQuery(api.users.me, {});
  return (
    <p aria-label={label}>{me === undefined ? "…" : me === null ? "nobody" : `${me.subject}, ${me.name}`}</p>
  );
}

function Write() {
  const who = useMutation(api.users.who);
  const [by, setBy] = useState("");
  return (
    <>
      <button onClick={() => who({}).then((subject) => setBy(`by ${subject}`))}>Write</button>
      <p aria-label="Written">{by}</p>
    </>
  );
}

function App() {
  const [signedIn, setSignedIn] = useState(false);
  const provider = useMemo(() => ({ signedIn }), [signedIn]);
  return (
    <Provider.Provider value={provider}>
      <button onClick={() => setSignedIn(true)}>Sign in</button>
      <button onClick={() => setSignedIn(false)}>Sign out</button>
      <ConvexProviderWithAuth client={client} useAuth={useProvider}>
        <Seen />
        <Who label="Anybody" />
        <AuthLoading>Loading</AuthLoading>
        <Unauthenticated>Please sign in</Unauthenticated>
        <Authenticated>
          <Who label="Member" />
          <Write />
        </Authenticated>
      </ConvexProviderWithAuth>
    </Provider.Provider>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
