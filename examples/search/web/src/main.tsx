import { ConvexProvider, ConvexReactClient } from "convex/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import "../../../look/style.css";
import "../../../look/column.css";
import "./style.css";

// The page is usually served by the deployment itself.
const address: string = import.meta.env.VITE_CONVEX_URL || location.origin;
const client = new ConvexReactClient(address);

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <ConvexProvider client={client}>
      <App />
    </ConvexProvider>
  </StrictMode>,
);
