import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  // `.env.local` of `camber dev` lies at the project's root.
  envDir: "..",
  plugins: [react()],
  build: { outDir: "dist", emptyOutDir: true },
});
